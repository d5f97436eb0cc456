from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from handler.models.fleet_files import read
from model_store import open_ledger
from model_store.archives.archive import MANIFEST, Archive, check_archive, handler_files, write_archive
from model_store.archives.stored import archive_of, export_archive
from model_store.archives.version_fleet import fleet_of_version
from model_store.errors import CorruptObjectError
from model_store.ledger.ledger import Ledger
from tests.samples.fleets import commit_models, sample_stores
from tests.servers.torchserve import COLLECTION


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = open_ledger(str(tmp_path / "store"))
    commit_models(made, COLLECTION, sample_stores())
    return made


def written(ledger: Ledger, folder: Path) -> Archive:
    folder.mkdir()
    return write_archive(fleet_of_version(ledger.version(COLLECTION)), folder)


def rewritten(archive: Archive, path: Path, changes: dict[str, bytes | None]) -> Path:
    """Write a copy of an archive with entries replaced, added, or (None) left out."""
    with zipfile.ZipFile(archive.path) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            if info.filename not in changes:
                target.writestr(info, source.read(info))
        for name, content in changes.items():
            if content is not None:
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o100644 << 16
                target.writestr(info, content)
    return path


def test_equal_content_gives_equal_bytes_in_another_process_too(ledger: Ledger, tmp_path: Path) -> None:
    ours = written(ledger, tmp_path / "ours")
    program = (
        "from pathlib import Path; from model_store import open_ledger; "
        "from model_store.archives.archive import write_archive; "
        "from model_store.archives.version_fleet import fleet_of_version; import sys; "
        "write_archive(fleet_of_version(open_ledger(sys.argv[1]).version('stores')), Path(sys.argv[2]))"
    )
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    subprocess.run([sys.executable, "-c", program, ledger.uri, str(theirs)], check=True)
    assert (theirs / ours.file_name).read_bytes() == ours.path.read_bytes()


def test_archive_holds_our_files_only(ledger: Ledger, tmp_path: Path) -> None:
    archive = written(ledger, tmp_path / "out")
    check_archive(archive.path)
    with zipfile.ZipFile(archive.path) as opened:
        names = opened.namelist()
        opened.extractall(tmp_path / "unpacked")
    assert names == sorted(names)
    assert {name.split("/")[0] for name in names} == {"MAR-INF", "gridline_handler", "model"}
    assert {Path(name).suffix for name in names} == {".json", ".py", ".safetensors"}
    assert read(tmp_path / "unpacked" / "model").num_datasets == 4


def test_manifest_names_the_version_and_no_time(ledger: Ledger, tmp_path: Path) -> None:
    archive = written(ledger, tmp_path / "out")
    with zipfile.ZipFile(archive.path) as opened:
        manifest = json.loads(opened.read(MANIFEST))
    assert manifest["model"] == {
        "modelName": "stores",
        "modelVersion": "1",
        "handler": "gridline_handler.linear_handler",
    }
    assert manifest["createdOn"].startswith("01/01/1980")


def test_the_handler_in_an_archive_runs_without_gridline(ledger: Ledger, tmp_path: Path) -> None:
    archive = written(ledger, tmp_path / "out")
    with zipfile.ZipFile(archive.path) as opened:
        opened.extractall(tmp_path / "unpacked")
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import gridline_handler.linear_handler as m; "
        "from gridline_handler.models import fleet_files; from gridline_handler.answers.answering import answer; "
        "from gridline_handler.requests.payload import Request; "
        "fleet = fleet_files.read(pathlib.Path(sys.argv[1]) / 'model'); "
        'body = b\'{"dataset": "north", "instances": [[3, 1]]}\'; '
        "print(answer(fleet, [Request(body)])[0].status); "
        "foreign = {name.partition('.')[0] for name in sys.modules} & {'handler', 'model_store', 'jobs', 'ts'}; "
        "print(sorted(foreign))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "unpacked")],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.split("\n")[:2] == ["200", "[]"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model/evil.pkl": b"x"}, "'model/evil.pkl' is not one that gridline writes"),
        ({"../evil.py": b"x"}, "is not one that gridline writes"),
        ({"gridline_handler/sub/evil.py": b"x"}, "its handler is not that of this gridline"),
        ({"gridline_handler/sub/sub/evil.py": b"x"}, "is not one that gridline writes"),
        ({"requirements.txt": b"x"}, "is not one that gridline writes"),
        ({"gridline_handler/evil.py": b"import os"}, "its handler is not that of this gridline"),
        ({"gridline_handler/answers/scoring.py": b"import os"}, "its handler is not that of this gridline"),
        ({"gridline_handler/answers/scoring.py": None}, "its handler is not that of this gridline"),
        ({MANIFEST: b'{"model": {"handler": "os"}}'}, "its manifest names another handler"),
        ({MANIFEST: None}, "its manifest names another handler"),
    ],
)
def test_check_refuses_foreign_content(
    ledger: Ledger, tmp_path: Path, changes: dict[str, bytes | None], message: str
) -> None:
    archive = written(ledger, tmp_path / "out")
    with pytest.raises(CorruptObjectError, match=message):
        check_archive(rewritten(archive, tmp_path / "changed.mar", changes))


def test_check_refuses_what_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.mar"
    path.write_bytes(b"not a zip")
    with pytest.raises(CorruptObjectError, match="it is not an archive"):
        check_archive(path)


def test_check_refuses_a_link(ledger: Ledger, tmp_path: Path) -> None:
    archive = written(ledger, tmp_path / "out")
    path = tmp_path / "linked.mar"
    with zipfile.ZipFile(archive.path) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith("index.safetensors"):
                info.external_attr = 0o120777 << 16
            target.writestr(info, data)
    with pytest.raises(CorruptObjectError, match="not a plain file"):
        check_archive(path)


def test_archive_of_is_kept_in_the_store_and_read_back(ledger: Ledger, tmp_path: Path) -> None:
    version = ledger.version(COLLECTION)
    first = archive_of(ledger, version, tmp_path / "a")
    again = archive_of(ledger, version, tmp_path / "b")
    assert again.sha256 == first.sha256
    assert again.path.read_bytes() == first.path.read_bytes()
    assert again.path.is_relative_to(Path(ledger.uri))


def test_archive_of_writes_again_what_gc_took(ledger: Ledger, tmp_path: Path) -> None:
    version = ledger.version(COLLECTION)
    first = archive_of(ledger, version, tmp_path / "a")
    next(Path(ledger.uri).glob("blobs/*.mar")).unlink()
    assert archive_of(ledger, version, tmp_path / "b").sha256 == first.sha256


def test_archive_of_refuses_changed_bytes(ledger: Ledger, tmp_path: Path) -> None:
    version = ledger.version(COLLECTION)
    archive_of(ledger, version, tmp_path / "a")
    blob = next(Path(ledger.uri).glob("blobs/*.mar"))
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    with pytest.raises(CorruptObjectError, match="sha256"):
        archive_of(ledger, version, tmp_path / "b")


def test_export_writes_one_file(ledger: Ledger, tmp_path: Path) -> None:
    archive = export_archive(ledger, COLLECTION, None, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stores.mar"]
    check_archive(archive.path)


def test_handler_files_are_the_package() -> None:
    assert "gridline_handler/linear_handler.py" in handler_files()
    assert all(b"import model_store" not in source for source in handler_files().values())
