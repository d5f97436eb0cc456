"""The instances of a request, as rows or as named columns, and the values of each feature in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import PayloadError
from ..rows.model_card import ModelCard
from ..wording import listed, nearest, shown
from .limits import MAX_COMPARISONS, MAX_IGNORED

DATASET = "dataset"

Values = Sequence[object]


@dataclass(frozen=True)
class Rows:
    """Instances from JSON: each is a list in feature order, or an object of named values."""

    values: list[object]

    def __len__(self) -> int:
        return len(self.values)

    def datasets(self) -> list[object] | None:
        """Return the dataset that each instance names, None for one that names none; None if no instance names one."""
        if not isinstance(self.values[0], dict):
            return None
        named = [value.get(DATASET) if isinstance(value, dict) else None for value in self.values]
        return named if any(name is not None for name in named) else None

    def take(self, positions: Iterable[int]) -> Rows:
        """Return the instances at these positions."""
        return Rows([self.values[position] for position in positions])

    def only(self, names: frozenset[str]) -> tuple[Rows, list[str], set[str]]:
        """Return the instances with these names alone, the other names, and which of these some instance lacks."""
        others: dict[str, None] = {}
        lacked: set[str] = set()
        kept: list[object] = []
        for value in self.values:
            if isinstance(value, dict):
                others |= dict.fromkeys(name for name in value if name not in names)
                lacked |= names - value.keys()
                kept.append({name: value[name] for name in value if name in names})
            else:
                kept.append(value)
        return Rows(kept), list(others), lacked

    def raw_columns(self, card: ModelCard, positions: Sequence[int]) -> list[Values]:
        """Return the k columns unconverted, None for an absent value. Raises PayloadError, see `columns_of`."""
        kinds = set(map(type, self.values))
        if kinds == {list}:
            return _columns_of_lists(self.values, card, positions)  # type: ignore[arg-type]
        if kinds == {dict}:
            return _columns_of_objects(self.values, card, positions)  # type: ignore[arg-type]
        expected = dict if isinstance(self.values[0], dict) else list
        row = next((row for row, value in enumerate(self.values) if not isinstance(value, expected)), 0)
        raise PayloadError(
            f"instance {positions[row]} is {shown(self.values[row])}: give each instance as a list in the order "
            f"{listed(card.feature_names)}, or each as an object with these names"
        )


@dataclass(frozen=True)
class Table:
    """Instances as columns with these names, or in feature order if `names` is None."""

    names: tuple[str, ...] | None
    columns: tuple[Values, ...]
    num_rows: int

    def __len__(self) -> int:
        return self.num_rows

    def datasets(self) -> list[object] | None:
        """Return the column of datasets, or None if there is none."""
        return list(self.columns[self.names.index(DATASET)]) if self.names and DATASET in self.names else None

    def take(self, positions: Iterable[int]) -> Table:
        """Return the instances at these positions."""
        rows = list(positions)
        return Table(self.names, tuple([column[row] for row in rows] for column in self.columns), len(rows))

    def only(self, names: frozenset[str]) -> tuple[Table, list[str], set[str]]:
        """Return the instances with these names alone, the other names, and which of these there are not."""
        if self.names is None:
            return self, [], set()
        kept = [place for place, name in enumerate(self.names) if name in names]
        table = Table(tuple(self.names[at] for at in kept), tuple(self.columns[at] for at in kept), self.num_rows)
        return table, [name for name in self.names if name not in names], set(names - set(self.names))

    def raw_columns(self, card: ModelCard, positions: Sequence[int]) -> list[Values]:
        """Return the k columns unconverted. Raises PayloadError if the names or their number do not fit the card."""
        if self.names is None:
            if len(self.columns) != len(card.features):
                names = listed(card.feature_names)
                raise PayloadError(f"the instances have {len(self.columns)} values each: give {names}, in this order")
            return list(self.columns)
        allowed = {*card.feature_names, DATASET}
        unknown = [name for name in self.names if name not in allowed]
        if unknown:
            raise PayloadError(_unknown(unknown[0], card.feature_names))
        named = dict(zip(self.names, self.columns, strict=True))
        absent: Values = [None] * self.num_rows
        return [named.get(name, absent) for name in card.feature_names]


Instances = Rows | Table


def known(instances: Instances, card: ModelCard) -> tuple[Instances, tuple[str, ...]]:
    """Return the instances without the names that are no features, and those names; `dataset` is never left out.

    Raises PayloadError if such a name was probably meant as a feature that is absent, or there are very many.
    """
    kept, ignored, lacked = instances.only(frozenset((*card.feature_names, DATASET)))
    if len(ignored) > MAX_IGNORED:
        raise PayloadError(
            f"{len(ignored)} names are no features: at most {MAX_IGNORED} can be ignored; leave them out"
        )
    lacked -= {DATASET}
    if len(ignored) * len(lacked) > MAX_COMPARISONS:
        raise PayloadError(
            f"{len(ignored)} names are no features, and {len(lacked)} features are absent: leave the names out"
        )
    for name in ignored:
        meant = nearest(name, lacked)
        if meant is not None:
            raise PayloadError(
                f"{shown(name)} is not ignored, as feature {meant!r} is absent: rename it, or leave it out"
            )
    return kept, tuple(ignored)


def _columns_of_lists(rows: list[list[object]], card: ModelCard, positions: Sequence[int]) -> list[Values]:
    width = len(card.features)
    if set(map(len, rows)) != {width}:
        row = next(row for row, values in enumerate(rows) if len(values) != width)
        names = listed(card.feature_names)
        raise PayloadError(f"instance {positions[row]} has {len(rows[row])} values: give {width}, in the order {names}")
    return list(zip(*rows, strict=True))


def _columns_of_objects(rows: list[dict[str, object]], card: ModelCard, positions: Sequence[int]) -> list[Values]:
    names = card.feature_names
    try:
        columns: list[Values] = [[row[name] for row in rows] for name in names]
        complete = sum(map(len, rows)) == len(rows) * len(names)
    except KeyError:
        columns = [[row.get(name) for row in rows] for name in names]
        complete = False
    if not complete:
        allowed = {*names, DATASET}
        unknown = next(
            ((at, name) for at, row in zip(positions, rows, strict=True) for name in row if name not in allowed), None
        )
        if unknown:
            position, name = unknown
            raise PayloadError(f"instance {position}: {_unknown(name, names)}")
    return columns


def _unknown(name: str, names: Sequence[str]) -> str:
    near = nearest(name, names)
    meant = "" if near is None else f": did you mean {near!r}?"
    return f"feature {shown(name)} is not known: the features are {listed(names)}{meant}"
