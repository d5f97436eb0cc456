"""gc on a full disk, gc of all collections, and the list of collections."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.cli import main
from model_store.errors import StoreFullError, StoreRefusedError
from model_store.ledger.ledger import Ledger
from model_store.objects.reserve import keep_reserve, use_reserve
from tests.integration.test_store_repair import damage_commit
from tests.samples.models import commit, values_of
from tests.servers.stores import Place

Capture = pytest.CaptureFixture[str]
SMALL = "size=1m,nr_inodes=400"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a file system of 1 MiB."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root can mount a file system of limited size: run the tests as root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def with_versions(store: Path, *collections: str) -> Ledger:
    """Return a ledger with three versions of each collection, whose blobs are old enough for gc."""
    ledger = Ledger(Place(str(store)).open())
    for collection in collections:
        for value in (3.0, 2.0, 1.0):
            commit(ledger, collection, {f"{collection} {number}": value for number in range(20)})
    make_old(ledger)
    return ledger


def make_old(ledger: Ledger) -> None:
    for info in ledger.objects.list("blobs/"):
        os.utime(Path(ledger.uri) / info.key, (0, 0))


def fill(folder: Path) -> None:
    """Write until nothing more fits, neither bytes nor a byte."""
    for size in (65536, 4096, 1):
        with (folder / f"filler-{size}").open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * size):
                    pass
            except OSError as exc:
                assert exc.errno == errno.ENOSPC


def use_up_inodes(folder: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        for number in range(10_000):
            (folder / f"empty-{number}").touch()


@pytest.mark.parametrize("use_up", [fill, use_up_inodes])
def test_gc_runs_on_a_full_disk(small_disk: Path, use_up: Callable[[Path], None]) -> None:
    ledger = with_versions(small_disk / "store", "plants")
    for number in range(20):
        ledger.put_blob(bytes([number]) * 10_000, "json")
    make_old(ledger)
    use_up(small_disk)
    with pytest.raises(StoreRefusedError, match="No space left on device: free some space, or run 'gridline gc'"):
        commit(Ledger(ledger.objects), "plants", {"plants 0": 0.0})
    report = Ledger(Place(ledger.uri).open()).gc("plants", keep=1)
    assert len(report.removed) == 22
    assert values_of(ledger, "plants")["plants 0"] == 1.0
    assert ledger.verify("plants") == []
    assert len(list(ledger.objects.list("gc/reserve/"))) == 8  # for the next time
    assert commit(Ledger(ledger.objects), "plants", {"plants 0": 0.0}) is not None


def test_gc_without_a_reserve_says_how_much_to_free(small_disk: Path) -> None:
    ledger = with_versions(small_disk / "store", "plants")
    use_reserve(ledger.objects)
    fill(small_disk)
    with pytest.raises(StoreFullError, match="gc has no room for its notes: free 64 KiB there by hand, then run it"):
        ledger.gc("plants", keep=1)
    (small_disk / "filler-65536").unlink()
    assert len(ledger.gc("plants", keep=1).removed) == 2


def test_reserve_is_there_after_the_first_write_and_stays_as_it_is(place: Place) -> None:
    ledger = Ledger(place.open())
    commit(ledger, "plants", {"a": 1.0})
    stored = {info.key: info.size_bytes for info in ledger.objects.list("gc/reserve/")}
    assert sum(stored.values()) == 65536
    keep_reserve(ledger.objects)
    assert {info.key: info.size_bytes for info in ledger.objects.list("gc/reserve/")} == stored
    use_reserve(ledger.objects)
    ledger.gc("plants", keep=1, dry_run=True)
    assert not list(ledger.objects.list("gc/reserve/"))
    ledger.gc("plants", keep=1)
    assert {info.key: info.size_bytes for info in ledger.objects.list("gc/reserve/")} == stored


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger = with_versions(tmp_path / "store", "houses", "plants")
    monkeypatch.setenv("GRIDLINE_STORE", ledger.uri)
    return ledger


def test_gc_of_all_collections(stores: Ledger, capsys: Capture) -> None:
    code, out, _ = run(capsys, "gc", "--all", "--keep", "1", "--json")
    reports = json.loads(out)["collections"]
    assert (code, [report["collection"] for report in reports]) == (0, ["houses", "plants"])
    assert [len(report["removed"]) for report in reports] == [0, 2]  # the models of both are the same


def test_one_bad_collection_does_not_stop_gc_of_the_others(stores: Ledger, capsys: Capture) -> None:
    orphan = stores.put_blob(b"never committed, or named by what can't be read", "json")
    make_old(stores)
    damage_commit(stores, 3)
    code, out, err = run(capsys, "gc", "--all", "--keep", "1")
    assert code == 5
    assert "houses: removed 0 objects" in out and "what versions of plants need can't be read" in " ".join(out.split())
    assert "plants: " in err and "gridline models repair plants" in err
    for number in (1, 2):
        assert stores.verify("plants")[0].version == 3 and values_of(stores, "plants", number)
    assert stores.objects.read(orphan.key)
    assert run(capsys, "models", "repair", "plants")[0] == 0
    make_old(stores)
    assert run(capsys, "gc", "--all", "--keep", "1")[0] == 0
    assert orphan.key not in {info.key for info in stores.objects.list("blobs/")}


def test_blobs_of_dropped_versions_go_in_spite_of_a_bad_collection(stores: Ledger) -> None:
    commit(stores, "houses", {"houses 0": 0.5})
    commit(stores, "houses", {"houses 0": 0.25})
    make_old(stores)
    damage_commit(stores, 3)
    report = Ledger(stores.objects).gc("houses", keep=1)
    assert report.unreadable == ("plants",) and len(report.removed) == 1


def test_gc_needs_a_collection_or_all(stores: Ledger, capsys: Capture) -> None:
    for arguments in ([], ["plants", "--all"]):
        code, _, err = run(capsys, "gc", *arguments)
        assert code == 2 and "name a COLLECTION, or give --all" in err


def test_gc_of_all_that_are_bad_ends_with_4(stores: Ledger, capsys: Capture) -> None:
    for path in Path(stores.uri, "versions").glob("*/*3.json"):
        path.write_bytes(b"")
    code, out, err = run(capsys, "gc", "--all", "--json")
    assert code == 4 and len(json.loads(out)["errors"]) == 2 and "houses: " in err


def test_list_without_a_name_lists_the_collections(stores: Ledger, capsys: Capture) -> None:
    stores.rollback("plants", 1, reason="wrong labels")
    code, out, _ = run(capsys, "models", "list", "--json")
    document = json.loads(out)
    assert (code, document["store"]) == (0, stores.uri)
    keys = ("collection", "version", "num_datasets", "action")
    shown = [tuple(each[key] for key in keys) for each in document["collections"]]
    assert shown == [("houses", 3, 20, "train"), ("plants", 4, 20, "rollback")]
    assert "to version 1: wrong labels" in run(capsys, "models", "list")[1]


def test_list_of_collections_shows_the_others_beside_a_damaged_one(stores: Ledger, capsys: Capture) -> None:
    damage_commit(stores, 3)
    code, out, err = run(capsys, "models", "list")
    assert code == 4 and "houses" in out and "plants" in out
    assert "plants: " in err and "gridline models repair plants" in err


def test_list_without_a_name_has_no_version(stores: Ledger, capsys: Capture) -> None:
    assert run(capsys, "models", "list", "--version", "1")[0] == 2
