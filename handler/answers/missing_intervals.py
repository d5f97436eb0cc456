"""Why a row has no interval, in one sentence that says what to do.

Shapes: n rows · r reasons, one for each row without an interval · d encoded columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..models.dependence import FREE, dependences, undetermined_weights
from ..models.stack import ServedStack
from ..rows.encoding import Floats
from ..wording import listed, shortened, shown
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
    "the row breaks what all training rows of dataset {} keep, so they say nothing of it: {}, and here it is {:.6g}, "
    "not {:.6g}: give values that keep it"
)
BROKEN_BY_MANY = (
    "the row breaks a dependence between columns that all training rows of dataset {} keep, so they say nothing of it; "
    "those that depend on others are {}: give values that keep it"
)
BEYOND = "the interval is beyond float64: give smaller values"
SENTENCE = 200  # letters of a dependence in words
MAX_SOLVED = 64  # columns that depend on each other: of more, which of them a row breaks takes too long to say


def reasons_of(
    stack: ServedStack, models: Models, x_nd: Floats, bounds: Intervals, datasets: Sequence[str]
) -> dict[int, str]:
    """Return, for each row whose bounds are not finite, the reason; `datasets` names the dataset of each row."""
    finite_n = np.isfinite(bounds.confidence_n2).all(axis=1) & np.isfinite(bounds.prediction_n2).all(axis=1)
    if finite_n.all():
        return {}
    model_n = np.broadcast_to(np.asarray(models), len(x_nd))
    found: dict[int, str] = {}
    for model in np.unique(model_n[~finite_n]).tolist():
        row_r = np.flatnonzero(~finite_n & (model_n == model))
        said = _of_model(stack, model, x_nd[row_r], shown(datasets[int(row_r[0])]))
        found |= dict(zip(row_r.tolist(), said, strict=True))
    return found


def of_dataset(stack: ServedStack, model: int, dataset: str) -> str | None:
    """Return why no row of a dataset can have an interval; None if rows can. `dataset` is its name as it is shown."""
    stored = stack.statistics
    if stored is None or stored.inverse_cross_product_mpp is None:
        return UNTRAINED.format(dataset)
    if np.isnan(stored.inverse_cross_product_mpp[model, 0, 0]):
        return UNTRAINED.format(dataset)
    freedom = float(degrees_of_freedom(stored, stored.inverse_cross_product_mpp.shape[1])[model])
    if freedom <= 0:
        rows = float(stored.num_rows_m[model])
        return NO_FREEDOM.format(dataset, rows, rows - freedom)
    return None


def _of_model(stack: ServedStack, model: int, x_rd: Floats, dataset: str) -> list[str]:
    """Return the reason of each row of one model."""
    whole = of_dataset(stack, model, dataset)
    if whole is not None:
        return [whole] * len(x_rd)
    names = stack.card.columns
    open_columns = np.flatnonzero(undetermined_weights(stack, model)[: len(names)]).tolist()
    if len(open_columns) > MAX_SOLVED:
        return [BROKEN_BY_MANY.format(dataset, listed([names[at] for at in open_columns]))] * len(x_rd)
    found = dependences(stack, model)
    if not found:
        return [BEYOND] * len(x_rd)
    apart: Floats = np.abs(np.column_stack([each.apart(x_rd) for each in found]))
    worst_r: NDArray[np.intp] = apart.argmax(axis=1)
    sentences = [shortened(each.sentence(names), SENTENCE) for each in found]
    said = []
    for row, worst in enumerate(worst_r.tolist()):
        each, x_1d = found[worst], x_rd[row : row + 1]
        values = float(x_1d[0, each.column]), float(each.expected(x_1d)[0])
        is_broken = apart[row, worst] > FREE / 2
        said.append(BROKEN.format(dataset, sentences[worst], *values) if is_broken else BEYOND)
    return said
