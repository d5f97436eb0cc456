"""Whether an idle cluster has the CPUs and GPUs for a task, or for the ranks of a rank group, and its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.cluster.tasks import RankGroupSize, Task

RESOURCES = ("CPU", "GPU", "memory", "object_store_memory")
LITTLE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Node:
    """A live node with its total CPUs and GPUs, and its memory: for tasks, and for objects."""

    num_cpus: float
    num_gpus: float
    task_bytes: float = 0.0
    object_bytes: float = 0.0


def nodes_of(nodes: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Return the live ones of the nodes that Ray describes."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return [Node(*(resources.get(name, 0.0) for name in RESOURCES)) for resources in alive]


def largest_bytes(nodes: Sequence[Node]) -> int | None:
    """Return all the memory of the largest node; None if it is not known."""
    return int(max((node.task_bytes + node.object_bytes for node in nodes), default=0)) or None


def memory_options(task: Task, nodes: Sequence[Node]) -> dict[str, float]:
    """Return the memory that a task asks Ray for, if that is not little; at most that of a node, which can run it."""
    asked = min(task.memory_bytes, max((node.task_bytes for node in nodes), default=0.0))
    return {"memory": asked} if asked > LITTLE_BYTES else {}


def shortage(task: Task, nodes: Sequence[Node]) -> str | None:
    """Return a message with the needs of a task and the nodes, or None if some node can run the task."""
    if any(task.num_cpus <= node.num_cpus and task.num_gpus <= node.num_gpus for node in nodes):
        return None
    needs = _amounts(task.num_cpus, task.num_gpus)
    return f"block '{task.key}' needs {needs} on one node; the cluster has {_listed(nodes)}"


def rank_group_shortage(size: RankGroupSize, nodes: Sequence[Node]) -> str | None:
    """Return a message with the needs of a rank group and the nodes, or None if the nodes can run all its ranks."""
    cpus, gpus, number = size.cpus_per_worker, size.gpus_per_worker, size.num_workers
    for name, wanted, there in (
        ("CPU", cpus * number, sum(node.num_cpus for node in nodes)),
        ("GPU", gpus * number, sum(node.num_gpus for node in nodes)),
    ):
        if wanted > there:
            return f"{number} ranks need {_amount(wanted, name)}; the cluster has {there:g}"
    room = [_num_ranks(size, node) for node in nodes]
    if size.placement == "strict_pack" and max(room) < number:
        needs = _amounts(cpus * number, gpus * number)
        return f"{number} ranks packed strictly need {needs} on one node; the cluster has {_listed(nodes)}"
    if sum(room) < number:
        return f"{number} ranks need {_amounts(cpus, gpus)} each on one node; the cluster has {_listed(nodes)}"
    return None


def _num_ranks(size: RankGroupSize, node: Node) -> int:
    """Return the number of ranks that a node can run."""
    needs = ((node.num_cpus, size.cpus_per_worker), (node.num_gpus, size.gpus_per_worker))
    return min((int(there / wanted + 1e-9) for there, wanted in needs if wanted), default=size.num_workers)


def _listed(nodes: Sequence[Node]) -> str:
    there = ", ".join(_amounts(node.num_cpus, node.num_gpus) for node in nodes[:8]) or "no node"
    more = f" and {len(nodes) - 8} more" if len(nodes) > 8 else ""
    return f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}: {there}{more}"


def _amounts(num_cpus: float, num_gpus: float) -> str:
    amounts = [_amount(num_cpus, "CPU")] + ([_amount(num_gpus, "GPU")] if num_gpus else [])
    return " and ".join(amounts)


def _amount(number: float, name: str) -> str:
    return f"{number:g} {name}{'' if number == 1 else 's'}"
