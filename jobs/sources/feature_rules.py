"""The `features` of a configuration as plain values: which columns a line names, and how they are encoded."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from handler.rows.date_parts import DatePart
from handler.rows.datetimes import days_of
from handler.rows.model_card import FILLED, Factor, Feature, Kind, Missing, Term, Unseen
from handler.rows.transforms import Transform

if TYPE_CHECKING:
    from jobs.config import FeatureConfig

FIRST_DAY = math.nan  # an origin that the rows that train give
POWER = re.compile(r"(.+)\^([2-9]|[1-9][0-9]+)")


@dataclass(frozen=True)
class FeatureRule:
    """A line of `features`. `name` is a column, a pattern, or columns that terms multiply; `only` limits the kind.

    `missing` is None where the configuration does not say it: then a column that a pattern finds is filled.
    """

    name: str
    kind: Kind | Literal["auto"] = "auto"
    is_pattern: bool = False
    only: Kind | None = None
    transform: Transform | None = None
    missing: Missing | None = None
    unseen: Unseen = "error"
    min_count: int | None = None
    parts: tuple[DatePart, ...] = ("days",)
    cyclic: bool = False
    origin: float = FIRST_DAY

    @property
    def excludes(self) -> bool:
        """Whether the line leaves columns out."""
        return self.name.startswith("!")

    def matches(self, name: str) -> bool:
        """Return whether the pattern, after its `!`, matches a name: `*` is any text, `?` one character."""
        pattern = self.name.removeprefix("!")
        pattern = "*" if pattern == "all" else pattern
        wild = "".join({"*": ".*", "?": "."}.get(piece, re.escape(piece)) for piece in re.split(r"([*?])", pattern))
        return re.fullmatch(wild, name, re.DOTALL) is not None

    def feature(self, name: str, kind: Kind) -> Feature:
        """Return the feature of a column; an option is for the columns of the kinds that have it."""
        missing = self._missing(kind)
        if kind == "numeric":
            return Feature(name, kind, self.transform, missing)
        if kind == "categorical":
            return Feature(name, kind, missing=missing, unseen=self.unseen)
        return Feature(name, kind, missing=missing, parts=self.parts, cyclic=self.cyclic, origin=self.origin)

    def _missing(self, kind: Kind) -> Missing:
        """Return the rule for missing values; one that another kind has counts as not said."""
        fills_levels = kind == "datetime" and not self.cyclic and self.parts != ("days",)  # a mean date has no month
        fits = self.missing not in (FILLED if kind == "categorical" or fills_levels else ("level",))
        if self.missing is not None and fits:
            return self.missing
        if not self.is_pattern:
            return "error"
        return "level" if kind == "categorical" else "drop" if fills_levels else "mean"


def named_kind(rule: FeatureRule) -> Kind:
    """Return the kind that a line says; numeric, if the cells were to tell."""
    return "numeric" if rule.kind == "auto" else rule.kind


def rule_of(config: FeatureConfig) -> FeatureRule:
    """Return a line of the configuration as plain values."""
    kind = config.stated_kind
    return FeatureRule(
        name="*" if config.name is None else config.name,
        kind=kind,  # type: ignore[arg-type]  # one of the literals
        is_pattern=config.is_pattern,
        only=config.all,
        transform=config.transform,
        missing=config.missing,
        unseen=config.unseen,
        min_count=config.min_count,
        parts=config.parts,
        cyclic=config.cyclic,
        origin=FIRST_DAY if config.origin is None else days_of(config.origin),
    )


def needs_columns(rules: Sequence[FeatureRule]) -> bool:
    """Return whether the file has to say what the lines mean: patterns, kinds to be found, products and powers."""
    return any(rule.is_pattern or rule.excludes or rule.kind == "auto" or is_term(rule.name) for rule in rules)


def is_term(name: str) -> bool:
    """Return whether a name that no column has is a product or a power."""
    return ":" in name or POWER.fullmatch(name) is not None


def term_of(name: str) -> Term:
    """Return the product that a name says: `a:b`, `a^2`, `a^2:b`; a factor that comes again is a power."""
    factors: dict[str, int] = {}
    for piece in name.split(":"):
        found = POWER.fullmatch(piece)
        column, power = (found[1], int(found[2])) if found else (piece, 1)
        factors[column] = factors.get(column, 0) + power
    return Term(tuple(Factor(column, power) for column, power in factors.items()))
