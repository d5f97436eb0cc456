"""Rows that break a dependence between columns that all training rows keep: nothing is known of them.

Shapes: n rows · r reasons, one for each row of a model that breaks a dependence · d encoded columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..models.dependence import dependences, undetermined_weights
from ..models.stack import ServedStack
from ..rows.encoding import Floats
from ..wording import listed, shortened
from .scoring import Models, breaks

SENTENCE = 200  # letters of a dependence in words
MAX_SOLVED = 64  # columns that depend on each other: of more, which of them a row breaks takes too long to say
MAX_MODELS = 500  # of a request, whose dependences are told in words
MANY = "a dependence between columns; those that depend on others are {}"
ANY = "a dependence between columns"


class Broken(NamedTuple):
    """The dependence that a row breaks most, in words; the column, its value, and the one that would keep it.

    Where many columns depend on each other, there is no column. (A frozen dataclass takes four times as long to make.)
    """

    sentence: str
    column: str | None = None
    value: float = np.nan
    expected: float = np.nan

    def __str__(self) -> str:
        if self.column is None:
            return self.sentence
        return f"{self.sentence}, and here it is {self.value:.6g}, not {self.expected:.6g}"


def broken_by(stack: ServedStack, models: Models, x_nd: Floats) -> dict[int, Broken]:
    """Return what rows break, by their places; without those that keep every dependence."""
    stored = stack.statistics
    if stored is None or stored.undetermined_mpp is None:
        return {}
    row_n = np.flatnonzero(breaks(stack, models, x_nd))
    model_n = np.broadcast_to(np.asarray(models), len(x_nd))[row_n]
    found: dict[int, Broken] = {}
    for number, (model, place_r) in enumerate(by_model(model_n)):
        row_r = row_n[place_r]
        said = _of_model(stack, model, x_nd[row_r]) if number < MAX_MODELS else [Broken(ANY)] * len(row_r)
        found |= dict(zip(row_r.tolist(), said, strict=True))
    return found


def by_model(model_n: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each model of some rows, and the places of its rows."""
    if not len(model_n):
        return
    order_n = np.argsort(model_n, kind="stable")
    unique, starts = np.unique(model_n[order_n], return_index=True)
    yield from zip(unique.tolist(), np.split(order_n, starts[1:]), strict=True)


def _of_model(stack: ServedStack, model: int, x_rd: Floats) -> list[Broken]:
    """Return what each row of one model breaks most."""
    names = stack.card.columns
    open_columns = np.flatnonzero(undetermined_weights(stack, model)[: len(names)]).tolist()
    if not 0 < len(open_columns) <= MAX_SOLVED:
        return [Broken(MANY.format(listed([names[at] for at in open_columns])))] * len(x_rd)
    found = dependences(stack, model)
    columns = [each.column for each in found]
    values, expected = x_rd[:, columns], np.column_stack([each.expected(x_rd) for each in found])
    worst_r = np.abs((values - expected) / [each.scale for each in found]).argmax(axis=1)
    value_r, expected_r = values[np.arange(len(x_rd)), worst_r], expected[np.arange(len(x_rd)), worst_r]
    sentences = [shortened(each.sentence(names), SENTENCE) for each in found]
    return [
        Broken(sentences[worst], names[columns[worst]], *its)
        for worst, *its in zip(worst_r.tolist(), value_r.tolist(), expected_r.tolist(), strict=True)
    ]
