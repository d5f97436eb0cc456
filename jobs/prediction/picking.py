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
from jobs.prediction.models import Served
from jobs.sources.columns import Text

DATASET = "dataset"


@dataclass(frozen=True)
class Pick:
    """The dataset of every row: one name, or the columns whose cells name it."""

    dataset: str | None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picked:
    """The datasets of a batch, and the place of each row's among them; -1 where a key is empty."""

    names: Sequence[str]
    code_n: NDArray[np.int64]


def pick_for(served: Served, names: Collection[str], dataset: str | None) -> Pick:
    """Return how the rows of a file with columns `names` find their models.

    An option `--dataset` comes first, then the key columns of groups, then a column `dataset`, then the only dataset.
    Raises UsageError if nothing tells, or several key columns could.
    """
    if dataset is not None:
        return Pick(dataset)
    if served.only is not None and DATASET in served.features:
        return Pick(served.only)
    keys = sorted(key for key in served.keys if set(key) <= set(names))
    if len(keys) == 1:
        return Pick(None, keys[0])
    if DATASET in names:
        return Pick(None, (DATASET,))
    if keys:
        raise UsageError(
            f"collection '{served.collection}' has groups by {' and by '.join(listed(key) for key in keys)}, and the "
            f"file has all these columns: add a column {DATASET!r}, or set --dataset"
        )
    if served.only is not None:
        return Pick(served.only)
    raise UsageError(_why_untold(served, names))


def _why_untold(served: Served, names: Collection[str]) -> str:
    among = f"one of 'gridline models list {served.collection}'"
    what = f"collection '{served.collection}' has {served.num_datasets} datasets"
    if not served.keys:
        return f"{what}: set --dataset to {among}, or add a column {DATASET!r}"
    key = sorted(served.keys)[0]
    absent = next(name for name in key if name not in names)
    near = nearest(absent, names)
    meant = f" (did you mean {near!r}?)" if near is not None else ""
    return (
        f"{what}, by the columns {listed(key)}, and the file has no column {absent!r}{meant}: add it, or a column "
        f"{DATASET!r}, or set --dataset to {among}"
    )


def picked(pick: Pick, texts: Sequence[Text], num_rows: int) -> Picked:
    """Return the dataset of each row; `texts` are the columns that the pick names.

    The name of a group is made as training makes it.
    """
    if pick.dataset is not None:
        return Picked([pick.dataset], np.zeros(num_rows, np.int64))
    empty_n = np.any([text.code_n < 0 for text in texts], axis=0)
    if pick.columns == (DATASET,):
        return Picked(texts[0].levels.tolist(), texts[0].code_n.astype(np.int64))
    groups = named_by(texts)
    return Picked(groups.name_m.to_pylist(), np.where(empty_n, -1, groups.code_n))
