"""Which model answers a row of a file: by the columns of its group, by a column `dataset`, or one for all.

Shapes: n rows · m datasets of a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handler.wording import listed, nearest
from jobs.errors import UsageError
from jobs.groups.scan.group_names import named_by
from jobs.prediction.models import Key, Served
from jobs.sources.columns import Text

DATASET = "dataset"


@dataclass(frozen=True)
class Asked:
    """What a caller says about the models of rows: their dataset, or the prefix of the names of their groups."""

    dataset: str | None = None
    group_prefix: str | None = None


@dataclass(frozen=True)
class Pick:
    """The dataset of every row: one name, or the columns of a key, whose cells name it after a prefix.

    With `by_name`, the cells of the only column are the names.
    """

    dataset: str | None
    columns: tuple[str, ...] = ()
    prefix: str = ""
    by_name: bool = False


@dataclass(frozen=True)
class Picked:
    """The datasets of a batch, and the place of each row's among them; -1 where a key is empty."""

    names: Sequence[str]
    code_n: NDArray[np.int64]


def pick_for(served: Served, names: Collection[str], asked: Asked) -> Pick:
    """Return how the rows of a file with columns `names` find their models.

    An option `--dataset` comes first, then the key columns of groups, then a column `dataset`, then the only dataset.
    Raises UsageError if nothing tells, or several keys could.
    """
    if asked.dataset is not None:
        return Pick(asked.dataset)
    if served.only is not None and DATASET in served.features:
        return Pick(served.only)
    keys = [key for key in sorted(served.keys) if asked.group_prefix in (None, key.prefix)]
    if asked.group_prefix is not None and not keys:
        raise UsageError(_why_no_prefix(served, asked.group_prefix))
    there = [key for key in keys if set(key.columns) <= set(names)]
    if len(there) == 1:
        return Pick(None, there[0].columns, there[0].prefix)
    if DATASET in names and asked.group_prefix is None:
        return Pick(None, (DATASET,), by_name=True)
    if there:
        raise UsageError(_why_several(served, there))
    if served.only is not None:
        return Pick(served.only)
    raise UsageError(_why_untold(served, keys, names))


def _why_no_prefix(served: Served, prefix: str) -> str:
    known = listed(sorted({key.prefix for key in served.keys}))
    return (
        f"no group of collection '{served.collection}' has the prefix {prefix!r}: set --group-prefix to one of {known}"
    )


def _why_several(served: Served, keys: Sequence[Key]) -> str:
    several = " and ".join(
        f"by {listed(key.columns)}" + (f" after {key.prefix!r}" if key.prefix else "") for key in keys
    )
    apart = len({key.prefix for key in keys}) == len(keys)
    which = f"set --group-prefix, such as {keys[-1].prefix!r}" if apart else f"add a column {DATASET!r}"
    return f"collection '{served.collection}' has groups {several}, and the file has all these columns: {which}"


def _why_untold(served: Served, keys: Sequence[Key], names: Collection[str]) -> str:
    among = f"one of 'gridline models list {served.collection}'"
    what = f"collection '{served.collection}' has {served.num_datasets} datasets"
    if not keys:
        return f"{what}: set --dataset to {among}, or add a column {DATASET!r}"
    columns = keys[0].columns
    absent = next(name for name in columns if name not in names)
    near = nearest(absent, names)
    meant = f" (did you mean {near!r}?)" if near is not None else ""
    return (
        f"{what}, by the columns {listed(columns)}, and the file has no column {absent!r}{meant}: add it, or a column "
        f"{DATASET!r}, or set --dataset to {among}"
    )


def picked(pick: Pick, texts: Sequence[Text], num_rows: int) -> Picked:
    """Return the dataset of each row; `texts` are the columns that the pick names.

    The name of a group is made as training makes it.
    """
    if pick.dataset is not None:
        return Picked([pick.dataset], np.zeros(num_rows, np.int64))
    empty_n = np.any([text.code_n < 0 for text in texts], axis=0)
    if pick.by_name:
        return Picked(texts[0].levels.tolist(), texts[0].code_n.astype(np.int64))
    groups = named_by(texts, pick.prefix)
    return Picked(groups.name_m.to_pylist(), np.where(empty_n, -1, groups.code_n))
