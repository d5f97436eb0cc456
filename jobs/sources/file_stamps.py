"""What the file system says of the files of a source, without reading them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jobs.sources.columns import Fragment
from jobs.sources.filesystems import S3_PREFIX, open_filesystem, reading
from model_store.objects.s3_settings import S3Settings

Stamp = tuple[str, int, int, int]


def file_stamps(fragments: Sequence[Fragment], s3: S3Settings) -> list[Stamp]:
    """Return location, size and times of change of each file, in order; a file that is written again has another stamp.

    Of a local file also the time at which its entry changed, which can't be set back as the time of writing can.
    """
    locations = sorted({fragment.location for fragment in fragments})
    remote = [location for location in locations if location.startswith(S3_PREFIX)]
    stamps = [_local(location) for location in locations if not location.startswith(S3_PREFIX)]
    if remote:
        filesystem, _ = open_filesystem(remote[0], s3)
        with reading(remote[0], s3):
            found = filesystem.get_file_info([location.removeprefix(S3_PREFIX) for location in remote])
        stamps += [(location, info.size, info.mtime_ns, 0) for location, info in zip(remote, found, strict=True)]
    return stamps


def _local(location: str) -> Stamp:
    status = Path(location).stat()
    return location, status.st_size, status.st_mtime_ns, status.st_ctime_ns
