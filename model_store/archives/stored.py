"""The archives in a store: written once for a version and a handler, recorded with their sha256, and verified.

The record is an object of the run folder `archives`; the bytes are a blob. If gc has removed the blob, the archive is
written again and must have the same sha256.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from model_store.archives.archive import EXT, Archive, check_archive, code_digest, write_archive
from model_store.archives.version_fleet import fleet_of_version
from model_store.errors import CorruptObjectError, MissingObjectError, StoreRefusedError
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from model_store.names import ARCHIVES_RUN
from model_store.objects.blobs import BlobRef, blob_path

logger = logging.getLogger(__name__)


def archive_of(ledger: Ledger, version: Version, folder: Path) -> Archive:
    """Return the archive of a version as a verified file: from the store, or written into `folder` and then stored.

    If the store refuses to write, the archive is returned anyway. Raises CorruptObjectError if the stored archive does
    not match its record, or was not written by gridline.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{version.collection}/{version.number}/{version.commit_id}-{code_digest()[:16]}.json"
    record = ledger.run(ARCHIVES_RUN).read(name)
    if record is not None:
        ref = BlobRef(**json.loads(record))
        try:
            archive = Archive(version.collection, version.number, blob_path(ledger.objects, ref, folder), ref.sha256)
        except MissingObjectError:
            return _written_again(version, folder, ref)
        check_archive(archive.path)
        return archive
    archive = write_archive(fleet_of_version(version), folder)
    try:
        ref = ledger.put_blob(archive.path.read_bytes(), EXT)
        ledger.run(ARCHIVES_RUN).create(name, json.dumps(asdict(ref), sort_keys=True).encode())
    except StoreRefusedError as exc:
        logger.warning("the archive of version %d is not kept in the store: %s", version.number, exc)
    return archive


def export_archive(ledger: Ledger, collection: str, version: int | None, out: Path) -> Archive:
    """Write the archive of a version, the newest by default, as `<collection>.mar` into `out`, and return it.

    Raises StoreRefusedError if the folder can't be written.
    """
    exported = ledger.version(collection, version)
    path = out / f"{collection}.{EXT}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as scratch:
            archive = archive_of(ledger, exported, Path(scratch))
            partial = Path(scratch) / path.name
            shutil.copyfile(archive.path, partial)
            partial.replace(path)
    except OSError as exc:
        raise StoreRefusedError("", "", f"folder {out} can't be written: {exc.strerror}; set --out to another") from exc
    return replace(archive, path=path)


def _written_again(version: Version, folder: Path, ref: BlobRef) -> Archive:
    archive = write_archive(fleet_of_version(version), folder)
    if archive.sha256 != ref.sha256:
        raise CorruptObjectError(
            f"the archive of version {version.number} of '{version.collection}'",
            f"it came out as {archive.sha256}, and {ref.sha256} was recorded",
        )
    return archive
