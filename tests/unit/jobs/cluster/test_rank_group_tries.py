"""Gangs seen from the driver, without Ray: what a loss costs, and what happens where there is no room."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from jobs.cluster.capacity import Node
from jobs.cluster.checkpoint_stream import Saved
from jobs.cluster.rank_groups import RankGroupRunner
from jobs.cluster.ray_cluster import Cluster
from jobs.cluster.tasks import Outcome, RankGroupSize, RunLimits, Task
from jobs.errors import ClusterError

LOST = RuntimeError("rank 1 is gone")
ROOM = [Node(2, 0)]


@dataclass
class Ranks:
    """Gangs that do as they are told: of each, what it sends until it is lost; a last one finishes what is left.

    `nodes` are what the cluster has, each time that it is asked; the last one stays.
    """

    gangs: deque[list[Any]] = field(default_factory=deque)
    nodes: deque[list[Node]] = field(default_factory=lambda: deque([ROOM]))
    begun_with: list[dict[str, dict[str, bytes]]] = field(default_factory=list)
    num_interrupted: int = 0

    def live_nodes(self) -> list[Node]:
        return self.nodes.popleft() if len(self.nodes) > 1 else self.nodes[0]

    @contextmanager
    def started(self, tasks: Sequence[Task], size: RankGroupSize, address: str) -> Iterator[Any]:
        self.begun_with.append({task.key: dict(task.saved) for task in tasks})
        self._lost = bool(self.gangs)
        self._items = self.gangs.popleft() if self.gangs else [Outcome(task.key, "done") for task in tasks]
        yield self

    def failure(self) -> Exception | None:
        return LOST if self._lost else None

    def new_messages(self) -> list[Any]:
        return self._items

    def interrupt(self) -> None:
        self.num_interrupted += 1


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Ranks:
    ranks = Ranks()
    monkeypatch.setattr("jobs.cluster.rank_groups.started", ranks.started)
    monkeypatch.setattr("jobs.cluster.rank_groups.live_nodes", ranks.live_nodes)
    monkeypatch.setattr("jobs.cluster.deadlines.POLL_S", 0.0)
    return ranks


def run(*keys: str, num_ranks: int = 2, **limits: Any) -> dict[str, Outcome]:
    tasks = [Task(key, print, (), saves=True) for key in keys]
    outcomes = RankGroupRunner(Cluster("here"), RankGroupSize(num_ranks)).run(
        tasks, RunLimits(**limits), lambda saved: None
    )
    return {outcome.key: outcome for outcome in outcomes}


def test_lost_gang_costs_the_block_under_way_a_try(ranks: Ranks) -> None:
    ranks.gangs.extend([[Outcome("a", 1), Saved("x", b"half")], []])
    outcomes = run("a", "b", "c", max_failures=2)
    assert [outcome.value for outcome in outcomes.values()] == [1, "done", "done"]
    assert outcomes["b"].failures == ("RuntimeError: rank 1 is gone",) * 2
    assert outcomes["a"].failures == outcomes["c"].failures == ()
    assert ranks.begun_with[1:] == [{"b": {"x": b"half"}, "c": {}}] * 2


def test_block_that_is_lost_too_often_fails_alone(ranks: Ranks) -> None:
    ranks.gangs.extend([[], [Outcome("a", 1)], []])
    outcomes = run("a", "b", "c", max_failures=1)
    assert outcomes["a"].value == 1
    assert str(outcomes["b"].error) == "block 'b' was lost 2 times; the last: RuntimeError: rank 1 is gone"
    assert outcomes["c"].value == "done"


def test_gang_lost_as_it_ends_costs_nothing(ranks: Ranks) -> None:
    ranks.gangs.append([Outcome("a", 1)])
    assert run("a") == {"a": Outcome("a", 1)}


def test_ranks_wait_for_a_cluster_that_grows(ranks: Ranks) -> None:
    ranks.nodes = deque([[Node(1, 0)], [Node(1, 0)], ROOM])
    assert run("a", wait_for_resources_s=60)["a"].value == "done"


def test_ranks_that_never_fit_are_refused(ranks: Ranks) -> None:
    with pytest.raises(ClusterError, match=r"^4 ranks need 4 CPUs; the cluster has 2 at 'here'; ask for less, "):
        run("a", num_ranks=4)
    assert not ranks.begun_with


def test_blocks_fail_where_no_node_is_left_for_their_ranks(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.cluster.deadlines.NODE_LOSS_S", -1.0)
    ranks.nodes = deque([ROOM, [Node(1, 0)]])
    monkeypatch.setattr(ranks, "new_messages", lambda: [])
    outcomes = run("a", "b")
    assert {str(outcome.error) for outcome in outcomes.values()} == {
        "2 ranks need 2 CPUs; the cluster has 1 at 'here'; nodes were lost; " + RunLimits().remedy
    }
    assert ranks.num_interrupted == 1


def test_gang_gives_up_after_its_time(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "new_messages", lambda: [])
    with pytest.raises(ClusterError, match=r"did not end 1 blocks in timeout_s = 1e-06 s; finished blocks are stored"):
        run("a", timeout_s=1e-6)
