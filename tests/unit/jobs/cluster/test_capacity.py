"""Whether a cluster has room: on one node, and said in words."""

from __future__ import annotations

import pytest

from jobs.cluster.capacity import Node, largest_bytes, memory_options, nodes_of, rank_group_shortage, shortage
from jobs.cluster.tasks import Attempt, RankGroupSize, RunLimits, Task


def task(num_cpus: float, num_gpus: float = 0.0) -> Task:
    return Task("x", print, (), num_cpus, num_gpus)


@pytest.mark.parametrize("nodes", [[Node(2, 1)], [Node(1, 0), Node(4, 2)]])
def test_shortage_is_none_where_one_node_has_it_all(nodes: list[Node]) -> None:
    assert shortage(task(2, 1), nodes) is None


@pytest.mark.parametrize(
    ("wanted", "nodes", "text"),
    [
        (task(1, 4), [Node(8, 2)], "needs 1 CPU and 4 GPUs on one node; the cluster has 1 node: 8 CPUs and 2 GPUs"),
        (task(4), [Node(2, 0), Node(3, 0)], "needs 4 CPUs on one node; the cluster has 2 nodes: 2 CPUs, 3 CPUs"),
        (task(2, 1), [Node(2, 0), Node(1, 1)], "the cluster has 2 nodes: 2 CPUs, 1 CPU and 1 GPU"),
        (task(1), [], "the cluster has 0 nodes: no node"),
        (task(2), [Node(1, 0)] * 10, "10 nodes: " + ", ".join(["1 CPU"] * 8) + " and 2 more"),
        (task(1, 0.5), [Node(1, 0.25)], "needs 1 CPU and 0.5 GPUs on one node"),
    ],
)
def test_shortage_says_what_is_asked_and_what_there_is(wanted: Task, nodes: list[Node], text: str) -> None:
    short = shortage(wanted, nodes)
    assert short is not None
    assert text in short


@pytest.mark.parametrize(
    ("size", "nodes"),
    [
        (RankGroupSize(2), [Node(1, 0), Node(1, 0)]),
        (RankGroupSize(2, placement="spread"), [Node(2, 0)]),
        (RankGroupSize(2, placement="strict_pack"), [Node(1, 0), Node(2, 0)]),
        (RankGroupSize(4, gpus_per_worker=0.25), [Node(4, 1)]),
        (RankGroupSize(10, gpus_per_worker=0.1), [Node(16, 1)]),
    ],
)
def test_gang_shortage_is_none_where_every_rank_has_a_node(size: RankGroupSize, nodes: list[Node]) -> None:
    assert rank_group_shortage(size, nodes) is None


@pytest.mark.parametrize(
    ("size", "nodes", "text"),
    [
        (RankGroupSize(3), [Node(2, 0)], "3 ranks need 3 CPUs; the cluster has 2"),
        (RankGroupSize(4, gpus_per_worker=1), [Node(8, 1), Node(8, 1)], "4 ranks need 4 GPUs; the cluster has 2"),
        (RankGroupSize(2), [], "2 ranks need 2 CPUs; the cluster has 0"),
        (
            RankGroupSize(2, placement="strict_pack"),
            [Node(1, 0), Node(1, 0)],
            "2 ranks packed strictly need 2 CPUs on one node; the cluster has 2 nodes: 1 CPU, 1 CPU",
        ),
        (
            RankGroupSize(2, gpus_per_worker=2),
            [Node(9, 3), Node(9, 1)],
            "2 ranks need 1 CPU and 2 GPUs each on one node; the cluster has 2 nodes: "
            "9 CPUs and 3 GPUs, 9 CPUs and 1 GPU",
        ),
    ],
)
def test_gang_shortage_says_what_is_asked_and_what_there_is(size: RankGroupSize, nodes: list[Node], text: str) -> None:
    assert rank_group_shortage(size, nodes) == text


def test_patience_says_what_was_done_or_can_be() -> None:
    assert "--address" in RunLimits().remedy
    assert RunLimits(wait_for_resources_s=2).remedy == "waited wait_for_resources_s = 2 s for it to grow"


def test_memory_options_ask_for_what_a_node_has_at_most() -> None:
    nodes = [Node(2, 0, 1e9, 4e8), Node(2, 0, 3e9, 1e9)]
    assert memory_options(Task("x", print, (), memory_bytes=2 * 10**9), nodes) == {"memory": 2e9}
    assert memory_options(Task("x", print, (), memory_bytes=10**12), nodes) == {"memory": 3e9}
    assert memory_options(Task("x", print, (), memory_bytes=10**6), nodes) == {}
    assert memory_options(Task("x", print, (), memory_bytes=10**12), [Node(2, 0)]) == {}
    assert (largest_bytes(nodes), largest_bytes([Node(2, 0)]), largest_bytes([])) == (4 * 10**9, None, None)


def test_nodes_of_are_the_live_ones_with_their_memory() -> None:
    alive = {"Alive": True, "Resources": {"CPU": 2.0, "memory": 5.0, "object_store_memory": 3.0}}
    assert nodes_of([alive, {"Alive": False, "Resources": {"CPU": 8.0}}]) == [Node(2.0, 0.0, 5.0, 3.0)]


def test_task_that_ran_out_of_memory_says_what_to_do() -> None:
    class OutOfMemoryError(Exception):
        """As Ray's."""

    outcome = Attempt(task(1)).lost(OutOfMemoryError("Memory on the node was 22 GB. " * 40), max_failures=0)
    assert outcome is not None and "the node had no memory left: set a lower 'training.memory_mb'" in str(outcome.error)
