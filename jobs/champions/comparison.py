"""Compare challengers with champions: by one metric, on the same rows. A score of other rows decides nothing.

`train_loss` and `val_loss` are another metric for each loss, and for each delta or quantile of it: a Huber loss can't
be compared with a mean absolute error. The champion's row records the loss.

Shapes: m datasets.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.recipe import Policy

Basis = Literal["first", "same rows", "scored again", "another question", "not comparable", "lost", "withdrawn"]
OF_THE_LOSS = ("train_loss", "val_loss")
Floats = NDArray[np.float64]
FIRST, SAME, AGAIN, OTHER, NEITHER, LOST, ITSELF = range(7)
BASES: tuple[Basis, ...] = (
    *("first", "same rows", "scored again", "another question", "not comparable", "lost", "same rows"),
)
ENCODER = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True)
class Comparison:
    """The comparison of a challenger with the champion; `champion_score` is None if there is none to compare with."""

    promoted: bool
    reason: str
    basis: Basis
    challenger_score: float
    champion_score: float | None = None


@dataclass(frozen=True)
class Withdrawn:
    """Which challengers are models that a rollback has withdrawn: the place of the reason in `reasons`, or -1."""

    reason_m: NDArray[np.int32]
    reasons: tuple[str, ...]
    name_m: pa.Array
    collection: str

    def reason(self, place: int) -> str:
        """Return why a challenger is not promoted, and what lifts this."""
        name: str = self.name_m[place].as_py()
        word = shlex.quote(name)
        if word != name and not set(name) & set('"$`\\!'):
            word = f'"{name}"'  # easier to read in a quoted command
        lifts = f"'gridline models release {self.collection} {word}' lifts this"
        return f"{self.reasons[self.reason_m[place]]}; {lifts}"


@dataclass(frozen=True)
class Before:
    """What the champions' rows record: the score when it was committed (NaN: none by this metric), and convergence."""

    score_m: Floats
    converged_m: NDArray[np.bool_]


@dataclass(frozen=True)
class Comparisons:
    """The comparison of each challenger: its score, the champion's (NaN: none), and the rows of both.

    `why_not` has the reason of each place at which there is a champion without a score to compare with, or what is to
    be said of a challenger that is the champion already. `withdrawn` tells which of the challengers that would be
    promoted a rollback has withdrawn. `before` has what the champions' rows record; it is None if no dataset has one.
    """

    policy: Policy
    challenger_m: Floats
    champion_m: Floats
    basis_m: NDArray[np.int8]
    why_not: Mapping[int, str] = field(default_factory=dict)
    withdrawn: Withdrawn | None = None
    before: Before | None = None

    def __len__(self) -> int:
        return len(self.challenger_m)

    def __getitem__(self, place: int, /) -> Comparison:
        score, champion = float(self.challenger_m[place]), float(self.champion_m[place])
        promoted = bool(self.promoted_m[place])
        basis: Basis = "withdrawn" if self.withdrawn_m[place] else BASES[self.basis_m[place]]
        return Comparison(promoted, self._reason(place), basis, score, None if np.isnan(champion) else champion)

    @cached_property
    def gain_m(self) -> Floats:
        """How much better each challenger is, in the metric's units; NaN if there is no score to compare with."""
        return (
            (self.champion_m - self.challenger_m) if self.policy.mode == "min" else self.challenger_m - self.champion_m
        )

    @cached_property
    def promoted_m(self) -> NDArray[np.bool_]:
        """Which challengers are promoted: if they are better by more than `min_improvement`, or always.

        A challenger that is the champion already, or was withdrawn, is not promoted.
        """
        better_m = np.isnan(self.champion_m) | (self.gain_m > self.policy.min_improvement)
        promoted_m: NDArray[np.bool_] = (better_m | (self.policy.promote == "always")) & (self.basis_m != ITSELF)
        return promoted_m & ~self.withdrawn_m

    @property
    def withdrawn_m(self) -> NDArray[np.bool_]:
        """Which challengers are not promoted because a rollback has withdrawn them."""
        return np.zeros(len(self), np.bool_) if self.withdrawn is None else self.withdrawn.reason_m >= 0

    def _reason(self, place: int) -> str:
        if self.withdrawn is not None and self.withdrawn_m[place]:
            reason = self.withdrawn.reason(place)
            return f"{self.why_not[place]}; but {reason}" if self.basis_m[place] == LOST else reason
        if self.basis_m[place] == ITSELF:
            return self.why_not.get(place, "it is the champion already")
        if np.isnan(self.champion_m[place]):
            return self.why_not.get(place, "there was no champion")
        if self.policy.promote == "always":
            return "promote: always"
        gain = self.gain_m[place]
        if self.promoted_m[place]:
            return f"better by {gain:.6g}"
        return f"not better by more than {self.policy.min_improvement:g} (by {gain:.6g})"

    def json(self) -> pa.Array:
        """Return the comparison of each promoted challenger as JSON; null for the others."""
        texts = [self._json(place) if promoted else None for place, promoted in enumerate(self.promoted_m.tolist())]
        return pa.array(texts, pa.string())

    def _json(self, place: int) -> str:
        comparison = self[place]
        if comparison.basis != "first":
            return ENCODER.encode(vars(comparison))
        # A new collection may have a million of these; json takes ten times as long to write the same.
        first, _, rest = FIRST_JSON.partition("0.0")
        return f"{first}{comparison.challenger_score!r}{rest}"


FIRST_JSON = ENCODER.encode(vars(Comparison(True, "there was no champion", "first", 0.0)))


def recorded_loss(champion: Mapping[str, Any]) -> str | None:
    """Return the loss of a champion; None if its row is older than the column, and its engine trains by several."""
    loss: str | None = champion["loss"]
    return "mse" if loss is None and champion["engine"] == "closed_form" else loss
