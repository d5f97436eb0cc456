"""Find the files of a source, and divide them into fragments, each of which a task can read alone.

A relative source is searched beside the configuration file, then in the working directory. Its path stays relative, so
that it is valid on every machine that has a copy of the same folder, and so that a job keeps its trials when its folder
moves. Tasks work in the folder of the driver where their node has it; see `cluster/ray_cluster.py`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyarrow import fs

from jobs.errors import DataError
from jobs.sources.columns import Fragment
from jobs.sources.filesystems import S3_PREFIX, open_filesystem, read_again, reading
from jobs.sources.formats import format_of
from jobs.sources.lake_tables import refuse_lake_tables
from jobs.sources.read_options import ReadOptions
from model_store.objects.s3_settings import S3Settings

MAGIC = re.compile(r"[*?[]")
CLASS = re.compile(r"\[[^\]]+\]")
ANY = re.compile(".*", re.DOTALL)
FOOTERS_AT_ONCE = 16


def find_fragments(
    sources: Sequence[str], *, file_format: str, options: ReadOptions, folder: Path, s3: S3Settings
) -> tuple[Fragment, ...]:
    """Return the fragments of all files that `sources` name, by path and position in the file.

    A source is a file, a folder (all files below it, but for those whose names begin with `.` or `_`), or a pattern
    with `*`, `?`, `[…]` and `**`. `folder` is that of the configuration file.
    Raises DataError if there is no file, a file is named twice, its format is unknown, or it is in a table of
    Delta Lake, Iceberg or Hudi and is not named itself.
    """
    files = sorted((file for source in sources for file in _files(source, folder, s3)), key=lambda file: file[0])
    for (before, _), (location, _) in itertools.pairwise(files):
        if before == location:
            raise DataError(f"{location}: 'source' names the file twice: name it once")
    formats = [format_of(location, file_format, options) for location, _ in files]
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        divided = pool.map(lambda file, of: of.fragments(*file, s3), files, formats)
        return tuple(itertools.chain.from_iterable(divided))


@read_again
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
    try:
        matches = re.compile(re.escape(root.removeprefix("./")) + _pattern(path.removeprefix("./")))
    except re.error as exc:
        raise DataError(f"{path}: the pattern can't be read: {exc.msg}: correct it; [[] stands for [") from exc
    return _below(filesystem, folder.rstrip("/") or ("/" if folder else "."), matches)


def _below(filesystem: Any, root: str, matches: re.Pattern[str] = ANY) -> list[tuple[str, int]]:
    """Return path and size of the files below a folder that are not hidden, and match. Raises DataError for a table."""
    listed = filesystem.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    files = [
        (info.path, info.size)
        for info in listed
        if info.type == fs.FileType.File
        and not _hidden(info.path.removeprefix(root))
        and matches.fullmatch(info.path.removeprefix("./"))
    ]
    refuse_lake_tables(filesystem, root, [info.path for info in listed], [path for path, _ in files])
    return files


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/") if part not in ("", "."))


def _pattern(path: str) -> str:
    """Return the regular expression of a pattern: `*` and `?` stop at a slash, `**` does not."""
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", path)
    return "".join(
        special.get(piece) or (piece.replace("[!", "[^", 1) if CLASS.fullmatch(piece) else re.escape(piece))
        for piece in pieces
    )
