"""What the training rows of a dataset tell: standard errors of coefficients, which of them are open, and intervals.

Shapes: p weights of a model (the d encoded columns, and the bias last if there is one).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..answers.broken_dependences import MAX_SOLVED
from ..answers.missing_intervals import of_dataset
from ..answers.scoring import degrees_of_freedom
from ..models.dependence import dependences, undetermined_weights
from ..models.stack import ServedStack
from ..wording import shown

INTERCEPT = "intercept"
MANY = "it depends on other columns in every training row"

Json = dict[str, Any]


def statistics(stack: ServedStack, model: int, dataset: str) -> Json:
    """Return the degrees of freedom, the residual deviation, and what is known of each coefficient of a model.

    Where rows can't have an interval, `intervals` is false, and there is a `reason`.
    """
    reason = of_dataset(stack, model, shown(dataset))
    stored = stack.statistics
    if reason is not None or stored is None or stored.residual_variance_m is None:
        return {"intervals": False, "reason": reason}
    variance = float(stored.residual_variance_m[model])
    return {
        "intervals": True,
        "degrees_of_freedom": float(degrees_of_freedom(stored, model)),
        "residual_deviation": variance**0.5,
        "coefficients": _coefficients(stack, model, variance),
    }


def _coefficients(stack: ServedStack, model: int, variance: float) -> Json:
    """Return the standard error of each coefficient; null, with the reason, for one that the rows leave open."""
    assert stack.statistics is not None  # noqa: S101 - the caller has looked
    assert stack.statistics.inverse_cross_product_mpp is not None  # noqa: S101
    squares_p = stack.statistics.inverse_cross_product_mpp[model].diagonal() * variance
    error_p = np.sqrt(np.maximum(squares_p, 0.0)).tolist()
    open_p = undetermined_weights(stack, model)
    reasons = _reasons(stack, model, open_p)
    known = [
        {"estimable": False, "standard_error": None, "reason": reasons.get(at, MANY)}
        if is_open
        else {"estimable": True, "standard_error": error_p[at]}
        for at, is_open in enumerate(open_p.tolist())
    ]
    intercept = {INTERCEPT: known[-1]} if stack.bias_m is not None else {}
    return intercept | dict(zip(stack.card.columns, known, strict=False))  # the last one may be the intercept


def _reasons(stack: ServedStack, model: int, open_p: NDArray[np.bool_]) -> dict[int, str]:
    """Return, for each open weight, the dependence that moves it, in words."""
    names = stack.card.columns
    if not 0 < open_p[: len(names)].sum() <= MAX_SOLVED:
        return {}
    reasons: dict[int, str] = {}
    for each in dependences(stack, model):
        said = f"in every training row, {each.sentence(names)}"
        moved = [each.column, *np.flatnonzero(each.factor_d).tolist(), *([len(names)] if each.constant else [])]
        for at in moved:
            reasons.setdefault(at, said)
    return reasons
