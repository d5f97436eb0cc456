"""The archive of a version: a `.mar` that TorchServe loads, with equal bytes for equal content.

    MAR-INF/MANIFEST.json       name, version, handler
    gridline_handler/**/*.py    the package `handler`, under a name that no installed package has
    model/*.safetensors         the models, in the layout of handler/models/fleet_files.py

Entries are sorted, not compressed (deflate differs between zlib builds, and weights do not shrink) and dated 1980.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.errors import CorruptObjectError

if TYPE_CHECKING:
    from handler.models.fleet import Fleet

EXT = "mar"
MANIFEST = "MAR-INF/MANIFEST.json"
PACKAGE = "gridline_handler"
HANDLER = f"{PACKAGE}.linear_handler"
MODEL_FOLDER = "model"
ALLOWED = re.compile(
    rf"{re.escape(MANIFEST)}|{PACKAGE}/([a-z0-9_]+/)?[a-z0-9_]+\.py|{MODEL_FOLDER}/[a-z0-9-]+\.safetensors"
)
DATE = (1980, 1, 1, 0, 0, 0)
CREATED_ON = "01/01/1980 00:00:00"
REGULAR_FILE = 0o100644 << 16
UNIX = 3
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A `.mar` file of a version, and the sha256 of its bytes."""

    collection: str
    version: int
    path: Path
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the file in a model store: other bytes have another name."""
        return f"{self.collection}-{self.version}-{self.sha256[:12]}.{EXT}"


def write_archive(fleet: Fleet, folder: Path) -> Archive:
    """Write the archive of a version into `folder`, and return it. Raises OSError if it can't be written."""
    from safetensors import SafetensorError

    from handler.models.fleet_files import write

    with tempfile.TemporaryDirectory(dir=folder) as staging_name:
        staging = Path(staging_name)
        model = staging / MODEL_FOLDER
        model.mkdir()
        try:
            write(fleet, model)
        except SafetensorError as exc:  # of a full disk too
            raise OSError(errno.EIO, str(exc)) from exc
        entries: dict[str, Path | bytes] = {f"{MODEL_FOLDER}/{path.name}": path for path in model.iterdir()}
        entries |= handler_files()
        entries[MANIFEST] = _manifest(fleet.collection, fleet.version)
        partial = staging / "archive"
        _write_zip(entries, partial)
        with partial.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        archive = Archive(fleet.collection, fleet.version, partial, digest)
        return replace(archive, path=partial.rename(folder / archive.file_name))


def check_archive(path: Path) -> None:
    """Raise CorruptObjectError unless gridline writes every entry, and all code is that of this gridline.

    So a person who can write to the store can change the numbers of an archive, but can't run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            problem = _problem(archive, names)
    except zipfile.BadZipFile as exc:
        raise CorruptObjectError(path.name, f"it is not an archive: {exc}") from exc
    if problem:
        raise CorruptObjectError(path.name, f"{problem}: package it again")


def handler_files() -> dict[str, bytes]:
    """Return the entries of the package `handler`, by name."""
    return {f"{PACKAGE}/{name}": source for name, source in _sources(resources.files("handler"))}


def _sources(folder: Traversable) -> Iterator[tuple[str, bytes]]:
    """Yield the Python files in a folder and its folders, by their paths in it."""
    for item in folder.iterdir():
        if item.name.endswith(".py"):
            yield item.name, item.read_bytes()
        elif item.is_dir() and item.name.isidentifier() and not item.name.startswith("__"):
            yield from ((f"{item.name}/{name}", source) for name, source in _sources(item))


def code_digest() -> str:
    """Return the sha256 of all entries besides the models: archives of equal models differ only in these."""
    digest = hashlib.sha256(_manifest("", 0))
    for name, source in sorted(handler_files().items()):
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _problem(archive: zipfile.ZipFile, names: list[str]) -> str | None:
    foreign = [name for name in names if not ALLOWED.fullmatch(name)]
    if foreign:
        return f"entry {foreign[0]!r} is not one that gridline writes"
    if len(set(names)) != len(names):
        return "an entry is there twice"
    if any(info.external_attr != REGULAR_FILE or info.compress_type for info in archive.infolist()):
        return "an entry is not a plain file"
    expected = handler_files()
    handler = {name: archive.read(name) for name in names if name.startswith(f"{PACKAGE}/")}
    if handler != expected:
        return "its handler is not that of this gridline"
    identity = json.loads(archive.read(MANIFEST)) if MANIFEST in names else {}
    return None if identity.get("model", {}).get("handler") == HANDLER else "its manifest names another handler"


def _manifest(collection: str, version: int) -> bytes:
    """Return the manifest of the archiver, with a fixed time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # its import leaves a file open
        from model_archiver.manifest_components.manifest import Manifest, RuntimeType
        from model_archiver.manifest_components.model import Model

    model = Model(collection, serialized_file=None, handler=HANDLER, model_version=str(version))
    content = Manifest(runtime=RuntimeType.PYTHON.value, model=model).__to_dict__()
    return json.dumps({**content, "createdOn": CREATED_ON}, indent=2, sort_keys=True).encode()


def _write_zip(entries: dict[str, Path | bytes], path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            content = entries[name]
            info = zipfile.ZipInfo(name, DATE)
            info.external_attr, info.create_system = REGULAR_FILE, UNIX
            info.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
            source = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
            with source, archive.open(info, "w") as entry:
                shutil.copyfileobj(source, entry, CHUNK_BYTES)
