"""Find columns by their names, which in a file may have blanks and line ends around and between their words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from jobs.errors import DataError, MissingColumnError
from jobs.sources.columns import Wanted

MAX_NAMES = 20


def clean(name: str) -> str:
    """Return a name without blanks and quotes around it, and with one blank where it has some, or a line end."""
    words = " ".join(name.replace("\ufeff", "").split())
    quoted = len(words) > 1 and words[0] == words[-1] and words[0] in "\"'"
    return words[1:-1].strip() if quoted else words


def cleaned(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names, clean where that leaves them different."""
    found = [clean(name) for name in names]
    return tuple(
        short if found.count(short) == 1 or not short else name for name, short in zip(names, found, strict=True)
    )


def find_names(place: str, found: Sequence[str], wanted: Sequence[Wanted]) -> list[int]:
    """Return the position of each column: by its name, or by its clean name if just one column has it.

    Raises MissingColumnError if there is none, and DataError if two columns have the name.
    """
    at: dict[str, list[int]] = {}
    for position, name in enumerate(found):
        at.setdefault(name, []).append(position)
    return [_position(place, found, at, column.name) for column in wanted]


def has_names(found: Sequence[str], wanted: Sequence[Wanted]) -> bool:
    """Return whether all columns are there, by their names or their clean names."""
    names = {*found, *map(clean, found)}
    return all(column.name in names or clean(column.name) in names for column in wanted)


def check_names(place: str, found: Sequence[str], wanted: Sequence[Wanted]) -> None:
    """Raise MissingColumnError if a column is missing, and DataError if two columns have its name."""
    for column in wanted:
        count = found.count(column.name)
        if count != 1:
            raise _missing(place, found, column.name) if count == 0 else _twice(place, column.name)


def _position(place: str, found: Sequence[str], at: dict[str, list[int]], name: str) -> int:
    positions = at.get(name) or [position for position, each in enumerate(found) if clean(each) == clean(name)]
    if len(positions) == 1:
        return positions[0]
    raise _twice(place, name) if positions else _missing(place, found, name)


def _twice(place: str, name: str) -> DataError:
    return DataError(f"{place}: column {name!r} is there twice: rename one, or give all columns other names by 'names'")


def _missing(place: str, found: Sequence[str], name: str) -> MissingColumnError:
    close = difflib.get_close_matches(name, found, n=1)
    folded = [each for each in found if clean(each).casefold() == clean(name).casefold()]
    remedy = f"did you mean {(folded or close)[0]!r}?" if folded or close else "name one of them, or add it"
    shown = ", ".join(map(repr, found[:MAX_NAMES])) + (", …" if len(found) > MAX_NAMES else "")
    return MissingColumnError(f"{place}: column {name!r} is missing; found {shown}: {remedy}")
