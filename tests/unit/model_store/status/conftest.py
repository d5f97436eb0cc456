from __future__ import annotations

import pytest

from handler.hosting.endpoint import Endpoint
from handler.models.fleet import Fleet
from tests.servers.both_apis import FakeServer


@pytest.fixture
def server(stores_fleet: Fleet) -> FakeServer:
    """A server that answers for the collection `stores`."""
    return FakeServer({"stores": Endpoint(stores_fleet)})
