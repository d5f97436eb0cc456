"""Jobs on Ray: values and errors, lost workers and nodes, clusters that are too small, and clusters that grow."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.cluster.checkpoint_stream import Saved
from jobs.cluster.ray_cluster import Cluster, connect
from jobs.cluster.tasks import Outcome, RunLimits, Task
from jobs.errors import ClusterError
from tests.servers.ray_nodes import RayNodes
from tests.servers.ray_tasks import count_up, die_until, double, hold_on, refuse, run_out_of_memory

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster(raylets: RayNodes) -> Iterator[Cluster]:
    with connect(raylets.address) as joined:
        yield joined


def run(cluster: Cluster, *tasks: Task, **limits: Any) -> dict[str, Outcome]:
    return {outcome.key: outcome for outcome in cluster.run(tasks, RunLimits(**limits))}


def node_of_task(folder: Path) -> str:
    """Return the node on which `hold_on` runs, as soon as it does."""
    deadline = time.monotonic() + 60
    while not (found := list(folder.iterdir())):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[0].name


def test_run_returns_values_and_errors_of_functions(cluster: Cluster) -> None:
    shared = cluster.put(21)
    outcomes = run(cluster, Task("good", double, (shared,)), Task("bad", refuse, (3,)), max_failures=3)
    assert outcomes["good"] == Outcome("good", 42), outcomes["good"].error
    error = outcomes["bad"].error
    assert type(error) is ValueError and str(error) == "3 is refused"
    assert outcomes["bad"].failures == ()


def test_run_starts_a_task_again_whose_worker_was_killed(cluster: Cluster, tmp_path: Path) -> None:
    outcomes = run(cluster, Task("x", die_until, (str(tmp_path), 1)), max_failures=2)
    assert outcomes["x"].value == "after 1"
    assert [failure.split(":")[0] for failure in outcomes["x"].failures] == ["WorkerCrashedError"]


def test_run_gives_a_task_up_that_is_lost_too_often(cluster: Cluster, tmp_path: Path) -> None:
    outcomes = run(cluster, Task("x", die_until, (str(tmp_path), 9)), Task("y", double, (1,)), max_failures=1)
    assert isinstance(outcomes["x"].error, ClusterError)
    assert str(outcomes["x"].error).startswith("block 'x' was lost 2 times; the last: WorkerCrashedError: ")
    assert len(outcomes["x"].failures) == 2
    assert outcomes["y"].value == 2


def test_run_starts_a_task_again_that_ran_out_of_memory(cluster: Cluster, tmp_path: Path) -> None:
    outcomes = run(cluster, Task("x", run_out_of_memory, (str(tmp_path),)), max_failures=1)
    assert outcomes["x"].value == "done"
    assert outcomes["x"].failures == ("MemoryError: no room for 1 GB",)


def test_task_that_saves_goes_on_from_what_it_saved(cluster: Cluster, tmp_path: Path) -> None:
    seen: list[Saved] = []
    task = Task("x", count_up, (str(tmp_path), 8), saves=True, saved={"number": b"2"})
    (outcome,) = cluster.run([task], RunLimits(max_failures=1), seen.append)
    assert outcome.value == [4, 8]
    assert [int(saved.data) for saved in seen] == [3, 4, 5, 6, 7, 8]
    assert len(outcome.failures) == 1


def test_task_that_saves_passes_its_error(cluster: Cluster) -> None:
    (outcome,) = cluster.run([Task("x", refuse, (3,), saves=True)])
    assert str(outcome.error) == "3 is refused"


def test_task_goes_to_another_node_when_its_own_is_killed(
    cluster: Cluster, ray_nodes: RayNodes, tmp_path: Path
) -> None:
    nodes = {node.node_id: node for node in (ray_nodes.add(num_cpus=2), ray_nodes.add(num_cpus=2))}
    outcomes: list[Outcome] = []
    task = Task("x", hold_on, (str(tmp_path),), num_cpus=2)
    driver = threading.Thread(target=lambda: outcomes.extend(cluster.run([task], RunLimits(max_failures=2))))
    driver.start()
    ray_nodes.kill(nodes[node_of_task(tmp_path)])
    driver.join()
    assert outcomes[0].value == "the second time"
    assert len(outcomes[0].failures) == 1


def test_block_that_can_never_fit_is_refused_at_once(cluster: Cluster) -> None:
    started = time.monotonic()
    with pytest.raises(ClusterError) as caught:
        run(cluster, Task("small", double, (1,)), Task("large", double, (1,), num_cpus=64, num_gpus=4))
    assert time.monotonic() - started < 30
    message = str(caught.value)
    assert message.startswith("block 'large' needs 64 CPUs and 4 GPUs on one node; the cluster has 1 node: 1 CPU at '")
    assert "training.wait_for_resources_s" in message


def test_block_waits_for_a_cluster_that_grows(cluster: Cluster, ray_nodes: RayNodes) -> None:
    outcomes: dict[str, Outcome] = {}
    task = Task("x", double, (1,), num_cpus=3)
    driver = threading.Thread(target=lambda: outcomes.update(run(cluster, task, wait_for_resources_s=60)))
    driver.start()
    ray_nodes.add(num_cpus=3)
    driver.join()
    assert outcomes["x"].value == 2


def test_block_says_how_long_it_waited_for_the_cluster_to_grow(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=r"waited wait_for_resources_s = 0\.5 s for it to grow$"):
        run(cluster, Task("x", double, (1,), num_cpus=64), wait_for_resources_s=0.5)


def test_task_fails_alone_when_no_node_is_left_for_it(
    cluster: Cluster, ray_nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.cluster.deadlines.NODE_LOSS_S", 0.5)
    node = ray_nodes.add(num_cpus=2)
    tasks = [Task("large", hold_on, (str(tmp_path),), num_cpus=2), Task("small", double, (1,))]
    outcomes: dict[str, Outcome] = {}
    driver = threading.Thread(target=lambda: outcomes.update(run(cluster, *tasks, max_failures=3)))
    driver.start()
    node_of_task(tmp_path)
    ray_nodes.kill(node)
    driver.join()
    assert outcomes["small"].value == 2
    assert str(outcomes["large"].error).startswith("block 'large' needs 2 CPUs on one node; the cluster has 1 node")


def test_run_gives_up_after_its_time(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"did not end 1 blocks in timeout_s = 1 s; finished blocks are stored"):
        run(cluster, Task("x", hold_on, (str(tmp_path),)), timeout_s=1)
    assert run(cluster, Task("y", double, (1,)))["y"].value == 2  # the slot is free again
