from __future__ import annotations

from dataclasses import replace

import pytest

from handler.hosting.endpoint import Endpoint
from handler.models.fleet import Fleet
from handler.models.text_table import NameIndex
from model_store.deployment.errors import ServerError
from model_store.status.example_probe import ExampleProbe
from tests.servers.both_apis import FakeServer


def test_the_example_is_asked_of_each_collection(server: FakeServer, stores_fleet: Fleet) -> None:
    server.endpoints["others"] = Endpoint(replace(stores_fleet, version=7))
    probe = ExampleProbe(server, server)
    answers = probe.ask()
    assert {name: (one.version, one.problem) for name, one in answers.items()} == {
        "stores": (1, None),
        "others": (7, None),
    }
    assert all(one.seconds > 0 for one in answers.values())
    probe.ask()
    assert server.num_described == 2


def test_a_collection_that_does_not_answer_says_why(server: FakeServer, stores_fleet: Fleet) -> None:
    server.endpoints["others"] = Endpoint(stores_fleet)
    server.broken["others"] = "it has\nno workers"
    answers = ExampleProbe(server, server).ask()
    assert answers["stores"].problem is None
    assert (answers["others"].version, answers["others"].problem) == (None, "it has no workers")


def test_another_version_is_asked_its_own_example(server: FakeServer, stores_fleet: Fleet) -> None:
    probe = ExampleProbe(server, server)
    probe.ask()
    names = [name.replace("bare", "plain") for name in map(stores_fleet.index.names.__getitem__, range(4))]
    server.endpoints["stores"] = Endpoint(replace(stores_fleet, version=2, index=NameIndex.of(names)))
    [answer] = probe.ask().values()
    assert (answer.version, answer.problem) == (2, None)


def test_a_version_that_predicts_another_number_than_it_described_is_not_well(
    server: FakeServer, stores_fleet: Fleet
) -> None:
    probe = ExampleProbe(server, server)
    probe.ask()
    moved = [replace(one, bias_m=None if one.bias_m is None else one.bias_m + 1) for one in stores_fleet.stacks]
    weights = [replace(one, weight_md=one.weight_md * 2) for one in moved]
    server.endpoints["stores"] = Endpoint(replace(stores_fleet, stacks=tuple(weights)))
    [answer] = probe.ask().values()
    assert answer.version == 1
    assert answer.problem == "it predicts another number for its example than it describes"


def test_a_server_that_does_not_say_what_it_serves_is_an_error(server: FakeServer) -> None:
    server.down = "it can't be reached"
    with pytest.raises(ServerError, match="can't be reached"):
        ExampleProbe(server, server).ask()
