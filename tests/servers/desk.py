"""Fixture: a desk, whose jobs train in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples.people import Desk
from tests.servers.inline_cluster import InlineCluster


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], inline_cluster: InlineCluster) -> Desk:
    return Desk(tmp_path, capsys)
