"""Why a row has no interval, in one sentence that says what to do.

Shapes: n rows · r reasons, one for each row of a model without an interval · d encoded columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.stack import ServedStack
from ..rows.encoding import Floats
from ..wording import shown
from .broken_dependences import broken_by, by_model
from .scoring import Intervals, Models, degrees_of_freedom

UNTRAINED = (
    "dataset {} was trained without the statistics of intervals: set training.inference_statistics to true, and train "
    "it again"
)
NO_FREEDOM = (
    "dataset {} has {:g} training rows for the {:g} weights that they determine, which leaves none to tell the error "
    "by: train it with more rows, or fewer features"
)
BROKEN = (
    "the row breaks what all training rows of dataset {} keep, so they say nothing of it: {}: give values that keep it"
)
BEYOND = "the interval is beyond float64: give smaller values"


def reasons_of(
    stack: ServedStack, models: Models, x_nd: Floats, bounds: Intervals, datasets: Sequence[str]
) -> dict[int, str]:
    """Return, for each row whose bounds are not finite, the reason; `datasets` names the dataset of each row."""
    finite_n = np.isfinite(bounds.confidence_n2).all(axis=1) & np.isfinite(bounds.prediction_n2).all(axis=1)
    if finite_n.all():
        return {}
    lacks_n = np.flatnonzero(~finite_n)
    broken = broken_by(stack, models if isinstance(models, int) else models[lacks_n], x_nd[lacks_n])
    found: dict[int, str] = {}
    for model, place_r in by_model(np.broadcast_to(np.asarray(models), len(x_nd))[lacks_n]):
        dataset = shown(datasets[int(lacks_n[place_r[0]])])
        whole = of_dataset(stack, model, dataset)
        for at, row in zip(place_r.tolist(), lacks_n[place_r].tolist(), strict=True):
            found[row] = whole or (BROKEN.format(dataset, broken[at]) if at in broken else BEYOND)
    return found


def of_dataset(stack: ServedStack, model: int, dataset: str) -> str | None:
    """Return why no row of a dataset can have an interval; None if rows can. `dataset` is its name as it is shown."""
    stored = stack.statistics
    if stored is None or stored.inverse_cross_product_mpp is None:
        return UNTRAINED.format(dataset)
    if np.isnan(stored.inverse_cross_product_mpp[model, 0, 0]):
        return UNTRAINED.format(dataset)
    freedom = float(degrees_of_freedom(stored, model))
    if freedom <= 0:
        rows = float(stored.num_rows_m[model])
        return NO_FREEDOM.format(dataset, rows, rows - freedom)
    return None
