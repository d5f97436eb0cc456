"""Whether a cluster has room for a task: on one node, and if all that is there were free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.tasks import Task


@dataclass(frozen=True)
class Node:
    """A live node and what it has in all."""

    num_cpus: float
    num_gpus: float


def shortage(task: Task, nodes: Sequence[Node]) -> str | None:
    """Return what a task needs and what there is, or None if some node has it all."""
    if any(task.num_cpus <= node.num_cpus and task.num_gpus <= node.num_gpus for node in nodes):
        return None
    needs = _amounts(task.num_cpus, task.num_gpus)
    there = ", ".join(_amounts(node.num_cpus, node.num_gpus) for node in nodes[:8]) or "no node"
    more = f" and {len(nodes) - 8} more" if len(nodes) > 8 else ""
    count = f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}"
    return f"block '{task.key}' needs {needs} on one node; the cluster has {count}: {there}{more}"


def _amounts(num_cpus: float, num_gpus: float) -> str:
    amounts = [_amount(num_cpus, "CPU")] + ([_amount(num_gpus, "GPU")] if num_gpus else [])
    return " and ".join(amounts)


def _amount(number: float, name: str) -> str:
    return f"{number:g} {name}{'' if number == 1 else 's'}"
