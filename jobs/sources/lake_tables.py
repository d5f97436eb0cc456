"""Refuse tables of Delta Lake, Iceberg and Hudi: their log, not the folder, lists the current files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pyarrow import fs

from jobs.errors import DataError
from jobs.sources.filesystems import S3_PREFIX

LOGS = {"_delta_log": "a Delta Lake table", ".hoodie": "an Apache Hudi table"}
ICEBERG = "an Apache Iceberg table"
LOG = re.compile(rf"(.*?)/({'|'.join(map(re.escape, LOGS))})(?:/.*)?", re.DOTALL)
ICEBERG_METADATA = re.compile(r"(.*)/metadata/[^/]*\.metadata\.json(?:\.gz)?", re.DOTALL)


def refuse_lake_tables(filesystem: Any, root: str, listed: Sequence[str], files: Sequence[str]) -> None:
    """Raise DataError if one of `files` is in such a table; `listed` has all paths below the folder `root`.

    The table may be below or above `root`. A folder above `root` that can't be listed is not a table.
    """
    tables = [(table, kind) for table, kind in _tables(listed) if any(file.startswith(f"{table}/") for file in files)]
    folders = iter(_folders_above(filesystem, root) if files else ())
    while not tables and (folder := next(folders, None)):
        try:
            tables = _tables(_listed(filesystem, folder))
        except OSError:
            return
    if tables:
        (table, kind), prefix = tables[0], S3_PREFIX if filesystem.type_name == "s3" else ""
        raise DataError(
            f"{prefix}{table} is {kind}, whose log says which of its files are current: export a snapshot to plain "
            "parquet files, or name the current files one by one in 'source'"
        )


def _tables(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return the folders that are tables, each with its kind."""
    logs = [(found[1], LOGS[found[2]]) for path in paths if (found := LOG.fullmatch(path))]
    metadata = {found[1] for path in paths if (found := ICEBERG_METADATA.fullmatch(path))}
    has_data = {folder for folder in metadata if any(f"{path}/".startswith(f"{folder}/data/") for path in paths)}
    return [*dict.fromkeys(logs), *((folder, ICEBERG) for folder in sorted(has_data))]


def _folders_above(filesystem: Any, root: str) -> list[str]:
    """Return the folders above `root`, the nearest first; in S3 the bucket is the last."""
    path = PurePosixPath(root) if filesystem.type_name == "s3" else Path(root).absolute()
    return [folder.as_posix() for folder in path.parents if folder != PurePosixPath()]


def _listed(filesystem: Any, folder: str) -> list[str]:
    """Return the paths in a folder that show whether it is a table."""
    names = [f"{folder.rstrip('/')}/{name}" for name in (*LOGS, "data", "metadata")]
    found = [info for info in filesystem.get_file_info(names) if info.type == fs.FileType.Directory]
    below = [fs.FileSelector(info.path) for info in found if info.base_name == "metadata"]
    return [info.path for info in (*found, *(each for one in below for each in filesystem.get_file_info(one)))]
