"""What `gridline predict` is given, as instances of requests; and the answers to several requests as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handler.wording import listed
from jobs.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Json = dict[str, Any]

ROWS_PER_REQUEST = 1000
DATASET = "dataset"


def instance_of(settings: Sequence[str]) -> Json:
    """Return the instance that `--set name=value …` gives. Raises UsageError for one that is no pair, or repeated."""
    instance: Json = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name:
            raise UsageError(f"--set {setting!r} is not name=value: give a feature and its value, such as area=3")
        if name in instance:
            raise UsageError(f"--set gives {name!r} twice: give each feature once")
        instance[name] = value
    return instance


def read_table(path: Path) -> pa.Table:
    """Return the rows of a csv, tsv or parquet file. Raises DataError, with the file and the reason."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix == ".parquet":
            return parquet.read_table(path)
        delimiter = "\t" if path.suffix == ".tsv" else ","
        return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter))
    except (OSError, pa.ArrowException) as exc:
        raise DataError(f"{path} can't be read: {' '.join(str(exc).split())}; give a csv, tsv or parquet file") from exc


def instances_of(table: pa.Table, features: Sequence[str], *, with_dataset: bool) -> Iterator[list[Json]]:
    """Yield the rows as instances, some at a time; columns that are no feature are left out.

    Raises DataError if no column is a feature.
    """
    wanted = [*features, DATASET] if with_dataset else list(features)
    columns = [name for name in table.column_names if name in wanted]
    if not columns:
        raise DataError(f"the file has columns {listed(table.column_names)}, and the features are {listed(features)}")
    for batch in table.select(columns).to_batches(max_chunksize=ROWS_PER_REQUEST):
        yield batch.to_pylist()


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
