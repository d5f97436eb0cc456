"""The functions of the tasks of a source: tasks exchange sums for the closed form, rows for minibatches of groups.

A single dataset is too large for that: for minibatches its task reads it again in every epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jobs.groups.minibatch_training import train_rows_part, train_streamed
from jobs.groups.scan.partial import Partial, merge
from jobs.groups.scan.rows import GroupRows, gather, scan_rows
from jobs.groups.scan.scan import scan
from jobs.groups.scan.stream import Source
from jobs.groups.training import train_part
from jobs.recipe import Recipe
from jobs.sources.resolved import ResolvedSource


@dataclass(frozen=True)
class Phases:
    """The functions of the tasks of a source: read fragments, add up the results of several for a part, and train it.

    If training saves, its first arguments are the name of its training checkpoints and the seconds between them.
    """

    scan: Callable[..., Any]
    add_up: Callable[..., Any]
    train: Callable[..., Any]
    rows_travel: bool = False
    saves: bool = False


def _summed(*partials: Partial) -> tuple[None, Partial]:
    return None, merge(partials)


def _gathered(*rows: GroupRows) -> tuple[None, GroupRows]:
    return None, gather(*rows)


def names_of(*sums: Partial | GroupRows) -> list[str]:
    """Return the names of the groups of a part, each once."""
    return sorted({name for each in sums for name in each.name_m.to_pylist()})


CLOSED_FORM = Phases(scan, _summed, train_part)
MINIBATCH = Phases(scan_rows, _gathered, train_rows_part, rows_travel=True)


def phases_of(recipe: Recipe, source: ResolvedSource) -> Phases:
    """Return the functions of the tasks of a source under a recipe."""
    if recipe.engine == "closed_form":
        return CLOSED_FORM
    if source.group_by:
        return MINIBATCH
    read_again = Source(source.fragments, source.s3, recipe.memory_mb)
    return Phases(scan, _summed, partial(train_streamed, read_again), saves=True)
