"""The ledger over a connection that breaks: lost answers, each fault alone, all at random, and requests counted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from model_store.errors import StoreUnreachableError
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Draft, Version
from model_store.objects.opening import open_objects
from model_store.objects.retry import RetryPolicy
from tests.samples.models import commit, store_rows, values_of
from tests.samples.proposals import lowest_of_each
from tests.servers.fault_proxy import (
    ALL_FAULTS,
    LOST_ACKNOWLEDGEMENTS,
    FaultProxy,
    Faults,
    Request,
    at_random,
    no_faults,
)
from tests.servers.stores import Place, S3Server

Proxied = Callable[[Faults], tuple[Place, FaultProxy]]


def first_answer_lost(kind: str, part_of_path: str = "/versions/") -> Faults:
    """Return faults that lose the answer to the first conditional put of each key below a path."""
    seen: set[str] = set()

    def faults(request: Request) -> str | None:
        if request.is_conditional_put and part_of_path in request.path and request.path not in seen:
            seen.add(request.path)
            return kind
        return None

    return faults


@pytest.mark.parametrize("kind", ["drop_answer", "500_after"])
def test_commit_whose_answer_is_lost_is_one_version_12_times_of_12(proxied: Proxied, kind: str) -> None:
    place, proxy = proxied(first_answer_lost(kind))
    ledger = Ledger(place.open())
    for number in range(1, 13):
        version = commit(ledger, "plants", {"a": -float(number)})
        assert version is not None and version.number == number
    assert sum(fault is not None for _, fault in proxy.requests) == 12
    assert [version.number for version in Ledger(place.open()).history("plants")] == list(range(12, 0, -1))
    assert values_of(ledger, "plants") == {"a": -12.0}


def test_commit_whose_answer_never_comes_is_one_version(proxied: Proxied) -> None:
    place, _ = proxied(first_answer_lost("hang_answer"))
    assert place.settings is not None
    settings = replace(place.settings, read_timeout_s=0.3)
    version = commit(Ledger(open_objects(place.uri, settings)), "plants", {"a": 1.0})
    assert version is not None and version.number == 1
    assert len(Ledger(place.open()).history("plants")) == 1


def test_lost_answer_with_another_writer_on_top_12_times_of_12(proxied: Proxied, s3_server: S3Server) -> None:
    others: list[int] = []
    seen: set[str] = set()
    place, proxy = proxied(no_faults)
    direct = Ledger(open_objects(place.uri, s3_server.settings))

    def lose_and_overtake(request: Request) -> str | None:
        if request.is_conditional_put and "/versions/" in request.path and request.path not in seen:
            seen.add(request.path)
            return "drop_answer"
        if others and request.method == "PUT" and "/versions/" in request.path:
            # The repeated put: by now another writer has committed on top of the one whose answer was lost.
            others.pop()
            assert commit(direct, "plants", {"b": -float(len(seen))}) is not None
        return None

    proxy.faults = lose_and_overtake
    ledger = Ledger(place.open())
    for number in range(12):
        others.append(number)
        version = commit(ledger, "plants", {"a": -float(number + 1)})
        assert version is not None and version.number == 2 * number + 1
    history = Ledger(place.open()).history("plants")
    assert [version.number for version in history] == list(range(24, 0, -1))
    assert len({version.commit_id for version in history}) == 24
    assert values_of(direct, "plants")["a"] == -12.0


def test_precondition_that_was_never_checked_is_no_conflict(proxied: Proxied) -> None:
    place, _ = proxied(first_answer_lost("412"))
    version = commit(Ledger(place.open()), "plants", {"a": 1.0})
    assert version is not None and version.number == 1


def test_conflict_answer_means_try_again(proxied: Proxied) -> None:
    place, _ = proxied(first_answer_lost("409"))
    version = commit(Ledger(place.open()), "plants", {"a": 1.0})
    assert version is not None and version.number == 1


@pytest.mark.parametrize("kind", [kind for kind in ALL_FAULTS if kind != "412"])
def test_each_fault_alone_on_every_other_request(proxied: Proxied, kind: str) -> None:
    place, _ = proxied(lambda request: kind if request.number % 2 == 0 else None)
    ledger = Ledger(place.open())
    commit(ledger, "plants", {"a": 2.0, "b": 2.0})
    commit(ledger, "plants", {"a": 1.0})
    assert ledger.rollback("plants", 1).number == 3
    assert values_of(ledger, "plants") == {"a": 2.0, "b": 2.0}
    assert ledger.verify("plants") == []


@pytest.mark.parametrize("seed", range(2))
def test_faults_at_random_under_four_writers(proxied: Proxied, seed: int) -> None:
    place, proxy = proxied(at_random(0.3, seed))

    def write(writer: int) -> int:
        ledger = Ledger(place.open())
        return sum(commit(ledger, "plants", {f"w{writer}": -float(turn)}) is not None for turn in range(4))

    with ThreadPoolExecutor(4) as pool:
        committed = sum(pool.map(write, range(4)))
    proxy.faults = no_faults
    history = Ledger(place.open()).history("plants")
    assert committed == 16 == len(history)
    assert [old.commit_id for old in history[1:]] == [new.parent for new in history[:-1]]
    assert values_of(Ledger(place.open()), "plants") == {f"w{writer}": -3.0 for writer in range(4)}


def test_faults_of_30_percent_cost_at_most_twice_the_requests(proxied: Proxied) -> None:
    counts = []
    for share in (0.0, 0.3):
        place, proxy = proxied(at_random(share, seed=3))
        ledger = Ledger(place.open())
        for number in range(12):
            commit(ledger, "plants", {f"d{number}": 1.0})
        counts.append(len(proxy.requests))
    assert counts[1] <= 2 * counts[0]


def test_no_answer_at_all_ends_in_time(proxied: Proxied) -> None:
    place, _ = proxied(lambda request: "503" if "/versions/" in request.path and request.method == "PUT" else None)
    assert place.settings is not None
    settings = replace(place.settings, retry=RetryPolicy(deadline_s=0.2, base_s=0.01))
    with pytest.raises(StoreUnreachableError, match=r"503 SlowDown.*version 1 may or may not be committed") as caught:
        commit(Ledger(open_objects(place.uri, settings)), "plants", {"a": 1.0})
    assert "not-a-secret" not in str(caught.value)


def test_commit_of_one_dataset_takes_at_most_10_requests(proxied: Proxied) -> None:
    place, proxy = proxied(no_faults)
    commit(Ledger(place.open()), "plants", {"a": 2.0, "b": 2.0})
    before = len(proxy.requests)
    assert commit(Ledger(place.open()), "plants", {"a": 1.0}) is not None
    assert len(proxy.requests) - before <= 10


def test_commit_of_one_dataset_of_10_000_takes_at_most_10_requests(proxied: Proxied) -> None:
    place, proxy = proxied(no_faults)
    values = {f"d{number:05d}": 1.0 for number in range(10_000)}
    commit(Ledger(place.open()), "many", values)
    before = len(proxy.requests)
    assert commit(Ledger(place.open()), "many", {"d00500": 0.5}) is not None
    assert len(proxy.requests) - before <= 10


def test_no_op_over_10_000_datasets_takes_at_most_5_requests(proxied: Proxied) -> None:
    place, proxy = proxied(no_faults)
    values = {f"d{number:05d}": 1.0 for number in range(10_000)}
    rows = store_rows(Ledger(place.open()), values)
    Ledger(place.open()).transact("many", lowest_of_each(rows))
    before = len(proxy.requests)
    seen = []

    def propose(head: Version | None) -> Draft | None:
        assert head is not None
        seen.append(len(head.table()))
        return None

    assert Ledger(place.open()).transact("many", propose) is None
    assert seen == [10_000]
    assert len(proxy.requests) - before <= 5


def test_lost_acknowledgements_are_among_the_random_faults() -> None:
    assert set(LOST_ACKNOWLEDGEMENTS) & set(ALL_FAULTS) == {"drop_answer", "500_after"}
