"""The files of a source, divided into fragments: what one task reads by itself.

A relative source is looked for beside the configuration file, then in the working directory. Its path is kept as it is
there, not made absolute, so that it holds on every machine that has a copy of the same folder.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pyarrow import fs

from jobs.errors import DataError
from jobs.sources.columns import Fragment
from jobs.sources.filesystems import S3_PREFIX, open_filesystem, reading
from jobs.sources.parquet import row_groups
from model_store.objects.s3_settings import S3Settings

Format = Literal["auto", "csv", "tsv", "parquet"]

SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet"}
DELIMITERS = {"csv": ",", "tsv": "\t"}
MAGIC = re.compile(r"[*?[]")
FOOTERS_AT_ONCE = 16


def find_fragments(
    sources: Sequence[str], *, file_format: Format, delimiter: str | None, folder: Path, s3: S3Settings
) -> tuple[Fragment, ...]:
    """Return the fragments of all files that `sources` name, by path and position in the file.

    A source is a file, a folder (all files below it, but for those whose names begin with `.` or `_`), or a pattern
    with `*`, `?`, `[…]` and `**`. `folder` is that of the configuration file.
    Raises DataError where there is no file, a file is named twice, or its format is not known.
    """
    files = sorted((file for source in sources for file in _files(source, folder, s3)), key=lambda file: file[0])
    for (before, _), (location, _) in itertools.pairwise(files):
        if before == location:
            raise DataError(f"{location}: 'source' names the file twice: name it once")
    formats = [file_format if file_format != "auto" else _format_of(location) for location, _ in files]
    parquet = [location for (location, _), found in zip(files, formats, strict=True) if found == "parquet"]
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        footers = dict(zip(parquet, pool.map(lambda location: row_groups(location, s3), parquet), strict=True))
    return tuple(
        fragment
        for (location, size_bytes), found in zip(files, formats, strict=True)
        for fragment in (
            _row_groups(location, footers[location])
            if found == "parquet"
            else [Fragment(location, size_bytes, delimiter or DELIMITERS[found])]
        )
    )


def _row_groups(location: str, footer: Sequence[tuple[int, int]]) -> Iterable[Fragment]:
    first_row = 0
    for row_group, (num_rows, size_bytes) in enumerate(footer):
        yield Fragment(location, size_bytes, row_group=row_group, first_row=first_row, num_rows=num_rows)
        first_row += num_rows


def _format_of(location: str) -> str:
    suffix = PurePosixPath(location).suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{location}: the name does not tell the format: set 'format' to csv, tsv or parquet")
    return SUFFIXES[suffix]


def _files(source: str, folder: Path, s3: S3Settings) -> list[tuple[str, int]]:
    """Return location and size of each file that one source names."""
    beside = f"{folder.as_posix()}/"
    roots = ("",) if "://" in source or Path(source).is_absolute() else (beside, "")
    for root in roots:
        filesystem, path = open_filesystem(source, s3)
        with reading(source, s3):
            found = _matching(filesystem, root, path)
        if found:
            prefix = S3_PREFIX if source.startswith(S3_PREFIX) else ""
            return [(prefix + path, size_bytes) for path, size_bytes in found]
    kind = "no file matches the pattern" if MAGIC.search(source) else "no such file, and no folder with files"
    places = f" (looked in {folder} and in the working directory)" if len(roots) > 1 else ""
    raise DataError(f"{source}: {kind}{places}: check 'source'")


def _matching(filesystem: Any, root: str, path: str) -> list[tuple[str, int]]:
    """Return path and size of the file at `path` below `root`, of those in the folder there, or of those that match."""
    info = filesystem.get_file_info(root + path)
    if info.type == fs.FileType.File:
        return [(info.path, info.size)]
    if info.type == fs.FileType.Directory:
        return _below(filesystem, info.path)
    magic = MAGIC.search(path)
    if magic is None:
        return []
    folder = root + path[: magic.start()].rpartition("/")[0]
    matches = re.compile(re.escape(root.removeprefix("./")) + _pattern(path.removeprefix("./")))
    files = _below(filesystem, folder.rstrip("/") or ("/" if folder else "."))
    return [file for file in files if matches.fullmatch(file[0].removeprefix("./"))]


def _below(filesystem: Any, root: str) -> list[tuple[str, int]]:
    selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
    return [
        (info.path, info.size)
        for info in filesystem.get_file_info(selector)
        if info.type == fs.FileType.File and not _hidden(info.path.removeprefix(root))
    ]


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/") if part not in ("", "."))


def _pattern(path: str) -> str:
    """Return the regular expression of a pattern: `*` and `?` stop at a slash, `**` does not."""
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", path)
    return "".join(
        special.get(piece) or (piece.replace("[!", "[^", 1) if piece.startswith("[") else re.escape(piece))
        for piece in pieces
    )
