"""The JSON of an answer, in the protocol of the request.

Shapes: n rows of a piece · d encoded columns · k raw features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import PayloadError
from ..models.fleet import Fleet
from ..models.stack import ServedStack
from ..requests.payload import Query
from ..rows.date_parts import iso_of
from ..rows.encoding import Floats
from ..wording import ignored_names, shown
from . import scoring
from .bodies import Body, Json, tensors_body, to_json
from .broken_dependences import broken_by
from .cost import check_cost, check_texts
from .missing_intervals import reasons_of
from .scored import Scored
from .size import contributing
from .tables import table_body


def body(fleet: Fleet, query: Query, scored: Sequence[Scored]) -> Body:
    """Return the body for a query with its scored pieces.

    Raises PayloadError for an explanation if the model has no statistics for it, or if it overflows, and for an answer
    that would be too large.
    """
    if len(query.instances) > 1:
        check_cost(fleet, query, scored)
    answer: Json = {
        "predictions": _in_order(query, scored, (one.prediction_n.tolist() for one in scored)),
        "model": {"collection": fleet.collection, "version": fleet.version, "dataset": _dataset(query, scored)},
    }
    if query.interval is not None:
        answer["intervals"] = _intervals(fleet, query, scored, query.interval)
    if query.extrapolation:
        answer["extrapolations"] = _in_order(query, scored, (_extrapolations(fleet, query, one) for one in scored))
    if query.explanations:
        answer["explanations"] = _in_order(query, scored, (_explanations(fleet, one) for one in scored))
    ignored = list(dict.fromkeys(name for one in scored for name in one.piece.ignored))
    if ignored:
        answer["warnings"] = [ignored_names(ignored)]
    try:
        if query.answer != "json":
            return table_body(query, answer, is_mixed=not isinstance(scored[0].piece.models, int))
        return tensors_body(query, answer) if query.protocol == "inputs" else Body(to_json(answer))
    except ValueError as exc:  # predictions and bounds are finite, so it is a contribution
        raise PayloadError("an explanation is beyond float64: give smaller values") from exc


def _in_order(query: Query, scored: Sequence[Scored], values: Iterable[Sequence[Any]]) -> Sequence[Any]:
    """Return one value for each instance, in the order of the request."""
    if len(scored) == 1:
        return next(iter(values))
    ordered: list[Any] = [None] * len(query.instances)
    for one, its_values in zip(scored, values, strict=True):
        for position, value in zip(one.piece.positions, its_values, strict=True):
            ordered[position] = value
    return ordered


def _dataset(query: Query, scored: Sequence[Scored]) -> str | Sequence[str]:
    """Return the dataset, or one for each instance if there are several."""
    names = _in_order(query, scored, (one.piece.datasets for one in scored))
    return names[0] if len(scored) == 1 and len(set(names)) == 1 else names


def _intervals(fleet: Fleet, query: Query, scored: Sequence[Scored], level: float) -> Json:
    """Return the intervals of the instances; null for one that can't have any, and then `reasons` has its reason."""
    found: list[scoring.Intervals] = []
    reasons: list[dict[int, str]] = []
    for one in scored:
        stack, models = fleet.stacks[one.piece.stack], one.piece.models
        bounds = scoring.intervals(stack, models, one.x_nd, one.prediction_n, level)
        found.append(bounds)
        reasons.append(reasons_of(stack, models, one.x_nd, bounds, one.piece.datasets))
    check_texts(query, (reason for lacks in reasons for reason in lacks.values()))
    confidences = (_or_null(each.confidence_n2, lacks) for each, lacks in zip(found, reasons, strict=True))
    predictions = (_or_null(each.prediction_n2, lacks) for each, lacks in zip(found, reasons, strict=True))
    answer: Json = {
        "level": level,
        "confidence": _in_order(query, scored, confidences),
        "prediction": _in_order(query, scored, predictions),
    }
    if any(reasons):
        said = ([lacks.get(row) for row in range(len(one.x_nd))] for one, lacks in zip(scored, reasons, strict=True))
        answer["reasons"] = _in_order(query, scored, said)
    return answer


def _or_null(bounds_n2: Floats, reasons: Mapping[int, str]) -> list[list[float] | None]:
    """Return the bounds as lists, None for a row with a reason."""
    bounds: list[list[float] | None] = bounds_n2.tolist()
    for row in reasons:
        bounds[row] = None
    return bounds


def _extrapolations(fleet: Fleet, query: Query, one: Scored) -> list[list[Json]]:
    """Return, for each instance, the features outside the trained range; an empty list if there are none.

    A row that breaks a dependence between columns, which all training rows keep, is outside as well.
    """
    stack = fleet.stacks[one.piece.stack]
    found = [
        [_extrapolation(stack, one, row, int(k)) for k in np.flatnonzero(outside_k)] if outside_k.any() else []
        for row, outside_k in enumerate(one.outside_nk)
    ]
    breaks = broken_by(stack, one.piece.models, one.x_nd)
    check_texts(query, (f"{broken.column}{broken.sentence}" for broken in breaks.values()))
    for row, broken in breaks.items():
        values = {} if broken.column is None else {"value": broken.value, "expected": broken.expected}
        found[row].append({"feature": broken.column, **values, "dependence": broken.sentence})
    return found


def _extrapolation(stack: ServedStack, one: Scored, row: int, k: int) -> Json:
    assert stack.statistics is not None  # noqa: S101 - only a model with statistics has ranges
    model = one.piece.models if isinstance(one.piece.models, int) else one.piece.models[row]
    feature, value = stack.card.features[k], float(one.raw_nk[row, k])
    bounds = (stack.statistics.feature_min_mk[model, k], stack.statistics.feature_max_mk[model, k])
    shown_as: Callable[[float], str | float] = iso_of if feature.kind == "datetime" else float
    named = dict(zip(("value", "minimum", "maximum"), map(shown_as, (value, *bounds)), strict=True))
    return {"feature": feature.name, **named}


def _explanations(fleet: Fleet, one: Scored) -> list[Json]:
    """Return, for each instance, the prediction of the mean training row, and what each feature and term contributes.

    With a transform of the target they are on its scale, which is named.
    """
    stack = fleet.stacks[one.piece.stack]
    contribution_nd = scoring.contributions(stack, one.piece.models, one.x_nd)
    _refuse_unexplained(stack, one)
    assert contribution_nd is not None  # noqa: S101 - it is refused
    transform = stack.card.target_transform
    scale = {} if transform is None else {"scale": transform}
    linear_n = one.prediction_n if transform is None else scoring.linear(stack, one.piece.models, one.x_nd)
    baseline_n = linear_n - contribution_nd.sum(axis=1)
    contribution_nk = _by_feature(stack, contribution_nd)
    names = contributing(stack.card)
    return [
        {"baseline": baseline, "contributions": dict(zip(names, contribution_k, strict=True)), **scale}
        for baseline, contribution_k in zip(baseline_n.tolist(), contribution_nk.tolist(), strict=True)
    ]


def _refuse_unexplained(stack: ServedStack, one: Scored) -> None:
    """Raise PayloadError for the first row of a model without a mean training row."""
    stored = stack.statistics
    lacks_n = np.ones(1, dtype=np.bool_)
    if stored is not None:
        lacks_n = np.isnan(np.atleast_2d(stored.column_mean_md[one.piece.models])).any(axis=1)
    if lacks_n.any():
        row = int(lacks_n.argmax())
        raise PayloadError(
            f"instance {one.piece.positions[row]}: dataset {shown(one.piece.datasets[row])} was stored without the "
            "mean of its training rows, against which predictions are explained: train it again, or leave "
            "'explanations' out"
        )


def _by_feature(stack: ServedStack, contribution_nd: Floats) -> Floats:
    """Return the contributions of the columns summed by feature, and by term, one column for each."""
    card = stack.card
    widths = [feature.num_columns(card.bias) for feature in card.features]
    widths += [len(card.term_columns(term)) for term in card.terms]
    ends = np.cumsum(widths)
    return np.column_stack(
        [contribution_nd[:, end - width : end].sum(axis=1) for width, end in zip(widths, ends, strict=True)]
    )
