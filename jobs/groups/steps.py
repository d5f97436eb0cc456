"""What the tasks of a fleet do, by the engine: sums travel for the closed form, rows for minibatches of groups.

A single dataset is too large to travel: for minibatches its task reads it again in every epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jobs.groups.minibatch_training import train_rows_part, train_streamed
from jobs.groups.scan.partial import Partial
from jobs.groups.scan.rows import GroupRows, gather, scan_rows
from jobs.groups.scan.scan import scan
from jobs.groups.scan.stream import Source
from jobs.groups.training import merge_parts, train_part
from jobs.recipe import Recipe
from jobs.sources.resolved import ResolvedSource


@dataclass(frozen=True)
class Phases:
    """What the tasks of a source do: read fragments, add up what several have read of a part, and train it.

    A training task that saves is given the name of its checkpoints and the seconds between them first.
    """

    scan: Callable[..., Any]
    add_up: Callable[..., Any]
    train: Callable[..., Any]
    rows_travel: bool = False
    saves: bool = False


def _summed(*partials: Any) -> tuple[None, Any]:
    return None, merge_parts(*partials)


def _gathered(*rows: Any) -> tuple[None, Any]:
    return None, gather(*rows)


def names_of(*sums: Partial | GroupRows) -> list[str]:
    """Return the names of the groups of a part, each once."""
    return sorted({name for each in sums for name in each.name_m.to_pylist()})


CLOSED_FORM = Phases(scan, _summed, train_part)
MINIBATCH = Phases(scan_rows, _gathered, train_rows_part, rows_travel=True)


def phases_of(recipe: Recipe, source: ResolvedSource) -> Phases:
    """Return what the tasks of a source do by a recipe."""
    if recipe.engine == "closed_form":
        return CLOSED_FORM
    if source.group_by:
        return MINIBATCH
    read_again = Source(source.fragments, source.s3, recipe.memory_mb)
    return Phases(scan, _summed, partial(train_streamed, read_again), saves=True)
