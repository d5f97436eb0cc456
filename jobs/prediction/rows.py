"""Read a file of rows as instances of requests, and join the answers to several requests.

Shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handler.wording import listed
from jobs.errors import DataError
from jobs.sources.columns import Array, Columns, Fragment, Wanted
from jobs.sources.formats import format_of
from jobs.sources.read_options import DEFAULTS, ReadOptions
from jobs.sources.reading import read_columns
from model_store.objects.s3_settings import S3Settings

Json = dict[str, Any]

ROWS_PER_REQUEST = 1000
DATASET = "dataset"


@dataclass(frozen=True)
class RowFile:
    """A file of rows, read as training reads its sources: the same names, types and marks of a missing value."""

    fragments: Sequence[Fragment]
    names: tuple[str, ...]

    def datasets(self) -> list[str]:
        """Return the names in the column `dataset`. Raises DataError where a cell of it is empty."""
        found: dict[str, None] = {}
        for part in self._read({DATASET: "text"}):
            text = part.texts[DATASET]
            if (empty_n := text.code_n < 0).any():
                place, _ = part.fragment.format.cell(part, int(empty_n.argmax()), DATASET, S3Settings())
                raise DataError(f"{place}: column {DATASET!r} is empty: name the dataset of every row")
            found |= dict.fromkeys(text.cells().tolist())
        return list(found)

    def read(self, features: Mapping[str, str], *, with_dataset: bool) -> list[Columns]:
        """Return the rows; `features` are names with their kinds, and columns of other names are left out.

        Raises DataError if no column is a feature, there is no row, or a cell is not of the feature's kind.
        """
        location = self.fragments[0].location
        kinds = {name: features[name] for name in self.names if name in features}
        if not kinds:
            raise DataError(f"{location} has columns {listed(self.names)}, and the features are {listed([*features])}")
        parts = list(self._read(kinds | ({DATASET: "text"} if with_dataset else {})))
        if not any(part.num_rows for part in parts):
            raise DataError(f"{location}: the file has no rows: add rows")
        return parts

    def _read(self, kinds: Mapping[str, str]) -> Iterator[Columns]:
        wanted = [Wanted(name, "number" if kind == "numeric" else "text") for name, kind in kinds.items()]
        return read_columns(self.fragments, wanted, S3Settings())


def open_rows(path: Path, options: ReadOptions = DEFAULTS, file_format: str = "auto") -> RowFile:
    """Return a file of rows, read with these options; `auto`: of the format that its name tells.

    Raises DataError, with the file and the reason.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file: check --input")
    found = format_of(str(path), file_format, options)
    fragments = found.fragments(str(path), path.stat().st_size, S3Settings())
    return RowFile(fragments, found.column_names(str(path), S3Settings()))


def instances_of(parts: Sequence[Columns]) -> Iterator[list[Json]]:
    """Yield the rows as instances, at most `ROWS_PER_REQUEST` at a time; a missing value is None."""
    for part in parts:
        columns = {name: _or_none(value_n) for name, value_n in part.numbers.items()}
        columns |= {name: text.cells() for name, text in part.texts.items()}
        for start in range(0, part.num_rows, ROWS_PER_REQUEST):
            rows = zip(*(cell_n[start : start + ROWS_PER_REQUEST].tolist() for cell_n in columns.values()), strict=True)
            yield [dict(zip(columns, row, strict=True)) for row in rows]


def _or_none(value_n: Array) -> Array:
    """Return numbers as they are; as objects, with None for NaN, where some are missing."""
    missing_n = np.isnan(value_n)
    if not missing_n.any():
        return value_n
    cell_n = value_n.astype(object)
    cell_n[missing_n] = None
    return cell_n


def joined(answers: Sequence[Json]) -> Json:
    """Return the answers to consecutive rows as one."""
    if len(answers) == 1:
        return answers[0]
    whole = dict(answers[0])
    for name in ("predictions", "extrapolations", "explanations"):
        if name in whole:
            whole[name] = [value for one in answers for value in one[name]]
    if "intervals" in whole:
        whole["intervals"] = {"level": whole["intervals"]["level"]} | {
            name: [bounds for one in answers for bounds in one["intervals"][name]]
            for name in ("confidence", "prediction")
        }
    whole["model"] = whole["model"] | {DATASET: _joined_datasets(answers)}
    return whole


def _joined_datasets(answers: Sequence[Json]) -> str | list[str]:
    named = [one["model"][DATASET] for one in answers]
    if all(name == named[0] and isinstance(name, str) for name in named):
        return str(named[0])
    return [
        dataset
        for one, name in zip(answers, named, strict=True)
        for dataset in (name if isinstance(name, list) else [name] * len(one["predictions"]))
    ]
