"""A champion's weights in the encoded columns of other rows: what it predicts for them, without reading them again.

Shapes: t trials (champions) · p weights (of a champion, the bias last if there is one) · q columns of z = [x, 1], where
x are the encoded columns of the rows.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from handler.rows.model_card import OTHER_LEVEL, Feature, ModelCard

WITHOUT_MISSING = ("error", "drop")  # rules under which no row that is trained on lacks the value


class UntranslatableError(ValueError):
    """The rows do not have what the champion needs; the message says what they lack."""


def question_of(card: ModelCard) -> str:
    """Return what a model predicts, as text: models of different questions can't be compared."""
    return repr(card.target) if card.target_transform is None else f"{card.target_transform} of {card.target!r}"


def translated(card: ModelCard, champion: ModelCard, weight_tp: Tensor) -> Tensor:
    """Return weights (t, q) for rows encoded by `card` that predict what the champion's weights (t, p) do.

    Raises UntranslatableError if the encoded rows do not tell what the champion predicts.
    """
    rows_pq = [_of_feature(card, champion, feature) for feature in champion.features]
    rows_pq += [_of_term(card, champion, str(term)) for term in champion.terms]
    if champion.bias:
        rows_pq.append(_constant(card)[None])
    return weight_tp @ torch.cat(rows_pq)


def _of_feature(card: ModelCard, champion: ModelCard, feature: Feature) -> Tensor:
    """Return each of the champion's columns of a feature as a sum of columns of the rows."""
    own = next((each for each in card.features if each.name == feature.name), None)
    columns = feature.columns(champion.bias)
    if own is None or (feature.main and not own.main):
        raise UntranslatableError(f"the champion needs {feature.name!r}, which these rows lack")
    if _rule(own) != _rule(feature) or own.missing not in (feature.missing, *WITHOUT_MISSING):
        raise UntranslatableError(f"the champion reads {feature.name!r} in another way")
    if feature.kind != "categorical":
        return _same_columns(card, champion, feature, own, columns)
    _require_levels(own, feature)
    levels = feature.levels[champion.bias :] if feature.main else ()
    return _stacked(card, [_of_level(card, own, feature, level) for level in levels])


def _rule(feature: Feature) -> Feature:
    """Return the feature without what may differ between rows that mean the same."""
    levels = feature.levels if feature.kind == "datetime" else ()
    return replace(feature, missing="error", unseen="error", main=True, levels=levels, origin=0.0)


def _same_columns(
    card: ModelCard, champion: ModelCard, feature: Feature, own: Feature, columns: tuple[str, ...]
) -> Tensor:
    """Return the columns of a feature that is not categorical; days are counted from the champion's origin."""
    if feature.levels and card.bias != champion.bias:
        raise UntranslatableError(f"the champion reads {feature.name!r} in another way")
    never = f"{feature.name}_missing" if own.missing in WITHOUT_MISSING else None
    rows = [_zeros(card) if column == never else _unit(card, column) for column in columns]
    for row_q, column in zip(rows, columns, strict=True):
        if column == feature.name:
            row_q[-1] += own.origin - feature.origin
    return _stacked(card, rows)


def _require_levels(own: Feature, feature: Feature) -> None:
    if own.levels == feature.levels:
        return
    if OTHER_LEVEL in own.levels:
        raise UntranslatableError(f"the champion has other levels of {feature.name!r}")
    unknown = sorted(set(own.levels) - set(feature.levels))
    if unknown and feature.unseen == "error":
        raise UntranslatableError(f"the champion does not know the level {unknown[0]!r} of {feature.name!r}")


def _of_level(card: ModelCard, own: Feature, feature: Feature, level: str) -> Tensor:
    """Return the champion's column of a level: 1 in the rows that it takes to have this level."""
    meant = [level] if level in own.levels else []
    if level == OTHER_LEVEL and feature.unseen == "other":
        meant += [each for each in own.levels if each not in feature.levels]
    total_q = _zeros(card)
    for each in meant:
        if card.bias and each == own.levels[0]:
            total_q += _constant(card) - sum(_unit(card, f"{own.name}={other}") for other in own.levels[1:])
        else:
            total_q += _unit(card, f"{own.name}={each}")
    return total_q


def _of_term(card: ModelCard, champion: ModelCard, term: str) -> Tensor:
    """Return the columns of a term, if the rows have it with the same levels."""
    theirs = {str(each): each for each in champion.terms}[term]
    own = {str(each): each for each in card.terms}.get(term)
    names = [factor.feature for factor in theirs.factors]
    if own is None or any(
        replace(card.feature(name), main=True) != replace(champion.feature(name), main=True) for name in names
    ):
        raise UntranslatableError(f"the champion needs {term!r}, which these rows lack")
    if card.bias != champion.bias:
        raise UntranslatableError(f"the champion reads {term!r} in another way")
    return torch.stack([_unit(card, column) for column in champion.term_columns(theirs)])


def _stacked(card: ModelCard, rows: list[Tensor]) -> Tensor:
    return torch.stack(rows) if rows else torch.zeros(0, card.num_columns + 1, dtype=torch.float64)


def _zeros(card: ModelCard) -> Tensor:
    return torch.zeros(card.num_columns + 1, dtype=torch.float64)


def _constant(card: ModelCard) -> Tensor:
    row_q = _zeros(card)
    row_q[-1] = 1.0
    return row_q


def _unit(card: ModelCard, column: str) -> Tensor:
    row_q = _zeros(card)
    row_q[card.columns.index(column)] = 1.0
    return row_q
