"""What each encoded column of a model card is: a product of numbers and of levels of features.

The formats of exports are made of this, so that each computes the columns that `handler` computes.

Shapes: d encoded columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any

from handler.rows.date_parts import DatePart, values_of
from handler.rows.model_card import Feature, ModelCard, Term


@dataclass(frozen=True)
class Number:
    """One column: `take` is "number", "missing" (1 where the value is missing) or a part of a date.

    Parts are "days" since the origin, "year", and for a place on a circle such as "month.sin" and "month.cos".
    """

    feature: str
    take: str

    @property
    def width(self) -> int:
        return 1


@dataclass(frozen=True)
class Levels:
    """The columns of the levels of a feature, or of a part of its dates; a row has a one in at most one of them.

    The first level has no column if it is the reference.
    """

    feature: str
    take: str
    levels: tuple[str | int, ...]
    has_reference: bool

    @property
    def width(self) -> int:
        return len(self.shown)

    @property
    def shown(self) -> tuple[str | int, ...]:
        """The levels that have a column."""
        return self.levels[self.has_reference :]


Source = Number | Levels


@dataclass(frozen=True)
class Block:
    """Encoded columns: the product of `numbers`, each with its power, and of the ones of `levels`.

    `levels` are with their strides: the column of the places p_1, p_2, … of their levels is first + Σ stride_i p_i.
    """

    first: int
    numbers: tuple[tuple[Number, int], ...] = ()
    levels: tuple[tuple[Levels, int], ...] = ()


def blocks(card: ModelCard) -> tuple[Block, ...]:
    """Return the encoded columns of a card, in their order, as blocks."""
    return tuple(_blocks(card))


def _blocks(card: ModelCard) -> Iterator[Block]:
    column = 0
    for feature in card.features:
        for source in _values(feature, card.bias) if feature.main else ():
            yield _block(column, [(source, 1, 0, 1)])
            column += source.width
        if feature.has_indicator:
            yield Block(column, ((Number(feature.name, "missing"), 1),))
            column += 1
    for term in card.terms:
        yield from _of_term(card, term, column)
        column += len(card.term_columns(term))


def _of_term(card: ModelCard, term: Term, column: int) -> Iterator[Block]:
    """Yield a block for each choice of one source of every factor; `column` is the first column of the term."""
    values = [_values(card.feature(factor.feature), card.bias) for factor in term.factors]
    widths = [sum(source.width for source in sources) for sources in values]
    strides = [math.prod(widths[at + 1 :]) for at in range(len(widths))]
    offsets = [list(accumulate((source.width for source in sources), initial=0)) for sources in values]
    for choice in product(*(range(len(sources)) for sources in values)):
        yield _block(
            column,
            [
                (values[at][chosen], term.factors[at].power, offsets[at][chosen], strides[at])
                for at, chosen in enumerate(choice)
            ],
        )


def _block(column: int, factors: Sequence[tuple[Source, int, int, int]]) -> Block:
    """Return the block of factors: each a source, its power, its offset within its factor, and its stride."""
    return Block(
        column + sum(offset * stride for _, _, offset, stride in factors),
        tuple((source, power) for source, power, _, _ in factors if isinstance(source, Number)),
        tuple((source, stride) for source, _, _, stride in factors if isinstance(source, Levels)),
    )


def _values(feature: Feature, has_reference: bool) -> tuple[Source, ...]:
    """Return the sources of the columns of a feature's values, without that of missing ones."""
    if feature.kind == "numeric":
        return (Number(feature.name, "number"),)
    if feature.kind == "categorical":
        return (Levels(feature.name, "level", feature.levels, has_reference),)
    return tuple(source for part in feature.parts for source in _of_part(feature, part, has_reference))


def _of_part(feature: Feature, part: DatePart, has_reference: bool) -> tuple[Source, ...]:
    if part == "days" or (feature.cyclic and part == "year"):
        return (Number(feature.name, part),)
    if feature.cyclic:
        return (Number(feature.name, f"{part}.sin"), Number(feature.name, f"{part}.cos"))
    return (Levels(feature.name, part, values_of(part, feature.levels), has_reference),)


def factors_of_columns(card: ModelCard) -> list[list[dict[str, Any]]]:
    """Return, for each of the d encoded columns, its factors as JSON: the column is their product.

    A factor has `feature` and `take`, and `equals` if it is 1 for this level and else 0, or `power` if that is not 1.
    """
    columns: list[list[dict[str, Any]]] = [[] for _ in range(card.num_columns)]
    for block in blocks(card):
        numbers = [
            {"feature": number.feature, "take": number.take} | ({"power": power} if power > 1 else {})
            for number, power in block.numbers
        ]
        for places in product(*(range(levels.width) for levels, _ in block.levels)):
            column = block.first + sum(stride * place for (_, stride), place in zip(block.levels, places, strict=True))
            columns[column] = numbers + [
                {"feature": levels.feature, "take": levels.take, "equals": levels.shown[place]}
                for (levels, _), place in zip(block.levels, places, strict=True)
            ]
    return columns
