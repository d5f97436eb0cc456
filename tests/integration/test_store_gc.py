"""gc and verification: what goes, what stays, and what is found to be broken."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store.claims import claims
from model_store.errors import CorruptObjectError, MissingObjectError, RunClaimedError, StoreError, UnknownVersionError
from model_store.ledger import gc_pins as pins
from model_store.ledger.champion_table import rows_to_table
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Draft, Version
from model_store.names import GC_CLAIM
from model_store.objects.blobs import BlobRef
from model_store.objects.protocol import ObjectStore
from tests.samples.models import commit, store_rows, values_of
from tests.samples.proposals import lowest_of_each
from tests.servers.stores import Place


@pytest.fixture
def ledger(place: Place) -> Ledger:
    return Ledger(place.open())


@pytest.fixture
def folder(tmp_path: Path) -> Ledger:
    return Ledger(Place(str(tmp_path / "store")).open())


def blob_keys(ledger: Ledger) -> set[str]:
    return {info.key for info in ledger.objects.list("blobs/")}


def make_old(ledger: Ledger, age_s: float = 2 * 24 * 3600.0) -> None:
    """Date every blob of a folder back."""
    for key in blob_keys(ledger):
        path = ledger.objects.local_path(key)
        assert path is not None
        os.utime(path, (time.time() - age_s,) * 2)


def wait_until_old(ledger: Ledger) -> None:
    """Return when what was written is older than the precision of the store's clock."""
    newest = max(info.modified_at for info in ledger.objects.list("blobs/"))
    deadline = time.monotonic() + 10
    while ledger.objects.now() - newest < 2.5 and ledger.objects.is_shared:
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
    if not ledger.objects.is_shared:
        make_old(ledger)


def test_gc_removes_what_only_dropped_versions_name(ledger: Ledger) -> None:
    for value in (3.0, 2.0, 1.0):
        commit(ledger, "plants", {"a": value})
    before = blob_keys(ledger)
    wait_until_old(ledger)
    foreseen = ledger.gc("plants", keep=2, dry_run=True, grace_s=0)
    assert blob_keys(ledger) == before
    report = ledger.gc("plants", keep=2, grace_s=0)
    assert report.removed == foreseen.removed and len(report.removed) == 1  # the statistics of all three are the same
    assert blob_keys(ledger) == before - set(report.removed)
    assert (report.oldest_kept, report.newest, report.num_kept, report.live_runs) == (2, 3, 3, ())
    assert [values_of(ledger, "plants", number)["a"] for number in (2, 3)] == [2.0, 1.0]
    assert ledger.verify("plants") == []
    assert ledger.gc("plants", keep=2, grace_s=0).removed == ()


def test_gc_says_of_a_dropped_version_that_it_is_gone(folder: Ledger) -> None:
    for value in (2.0, 1.0):
        commit(folder, "plants", {"a": value})
    make_old(folder)
    folder.gc("plants", keep=1)
    for verb in (lambda: folder.rollback("plants", 1), lambda: folder.champion("plants", "a", 1)):
        with pytest.raises(UnknownVersionError, match="version 1 of collection 'plants' is no longer whole"):
            verb()
    assert [version.number for version in folder.history("plants")] == [2, 1]


def test_gc_spares_other_collections(folder: Ledger) -> None:
    commit(folder, "plants", {"a": 2.0})
    commit(folder, "houses", {"h": 2.0})
    commit(folder, "plants", {"a": 1.0})
    make_old(folder)
    assert folder.gc("plants", keep=1).removed == ()
    assert values_of(folder, "houses") == {"h": 2.0}


def test_gc_spares_young_blobs(folder: Ledger) -> None:
    for value in (2.0, 1.0):
        commit(folder, "plants", {"a": value})
    report = folder.gc("plants", keep=1)
    assert (report.removed, report.num_young) == ((), 1)


def test_gc_lets_a_killed_run_go_on_for_a_day(folder: Ledger) -> None:
    commit(folder, "plants", {"a": 2.0})
    rows = store_rows(folder, {"a": 1.0})
    make_old(folder, 3600.0)
    assert folder.gc("plants", keep=1).removed == ()
    assert folder.transact("plants", lowest_of_each(rows)) is not None
    make_old(folder)
    assert len(folder.gc("plants", keep=1).removed) == 1


def test_gc_spares_what_a_running_run_names_or_wrote(folder: Ledger) -> None:
    commit(folder, "plants", {"a": 3.0})
    named = folder.put_blob(b"named by what the run has stored", "json")
    make_old(folder)
    run = folder.run("r1")
    with run.claim():
        run.create("blocks/0.json", named.sha256.encode())
        rows = store_rows(folder, {"a": 1.0})
        report = folder.gc("plants", keep=1, grace_s=0)
        assert (report.removed, report.live_runs) == ((), ("r1",))
        assert folder.transact("plants", lowest_of_each(rows)) is not None
    make_old(folder)
    assert named.key in folder.gc("plants", keep=1, grace_s=0).removed


def test_gc_is_for_one_at_a_time(folder: Ledger) -> None:
    commit(folder, "plants", {"a": 3.0})
    with (
        claims.take_claim(folder.objects, GC_CLAIM, "gc"),
        pytest.raises(RunClaimedError, match=r"gc of .* is claimed"),
    ):
        folder.gc("plants", keep=1)


def test_gc_can_be_interrupted_and_goes_on(folder: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (4.0, 3.0, 2.0, 1.0):
        commit(folder, "plants", {"a": value})
    make_old(folder)
    delete = folder.objects.delete
    left = [1]

    def delete_one(key: str) -> None:
        if key.startswith("blobs/") and not left:
            raise KeyboardInterrupt
        if key.startswith("blobs/"):
            left.pop()
        delete(key)

    monkeypatch.setattr(folder.objects, "delete", delete_one)
    with pytest.raises(KeyboardInterrupt):
        folder.gc("plants", keep=1)
    monkeypatch.undo()
    assert folder.verify("plants") == []
    assert len(folder.gc("plants", keep=1).removed) == 2
    assert values_of(folder, "plants") == {"a": 1.0}


def test_gc_keeps_at_least_the_newest(folder: Ledger) -> None:
    commit(folder, "plants", {"a": 1.0})
    with pytest.raises(StoreError, match="give 1 or more"):
        folder.gc("plants", keep=0)


def test_rollback_beside_gc_is_whole_or_refused(folder: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """gc begins after the rollback has looked at its blobs, and removes them before it commits."""
    for value in (2.0, 1.0):
        commit(folder, "plants", {"a": value})
    make_old(folder)
    place = Ledger(Place(folder.uri).open())
    wait = pins._wait_for_gc

    def gc_comes_first(objects: ObjectStore, written_s: float) -> bool:
        monkeypatch.setattr(pins, "_wait_for_gc", wait)
        assert place.gc("plants", keep=1, grace_s=0).removed == ()  # the pin of the rollback is already there
        return wait(objects, written_s)

    monkeypatch.setattr(pins, "_wait_for_gc", gc_comes_first)
    another = Ledger(Place(folder.uri).open())  # a process that has not stored these blobs itself just now
    assert another.rollback("plants", 1).number == 3
    assert values_of(folder, "plants") == {"a": 2.0}
    assert folder.verify("plants") == []


def test_pins_are_read_and_forgotten_when_old(folder: Ledger) -> None:
    commit(folder, "plants", {"a": 1.0})
    pin = "gc/pins/0.json"
    folder.objects.create(pin, b'{"blobs": ["blobs/x"]}')
    assert pins.pinned_keys(folder.objects) == {"blobs/x"}
    path = folder.objects.local_path(pin)
    assert path is not None
    os.utime(path, (time.time() - 2 * pins.PIN_S,) * 2)
    folder.gc("plants", keep=1, dry_run=True)
    assert path.exists() and pins.pinned_keys(folder.objects) == set()
    folder.gc("plants", keep=1)
    assert not path.exists()


def test_unreadable_pin_stops_gc(folder: Ledger) -> None:
    commit(folder, "plants", {"a": 1.0})
    folder.objects.create("gc/pins/0.json", b"rubbish")
    with pytest.raises(CorruptObjectError, match=r"gc/pins/0\.json is corrupt: it is not a pin"):
        folder.gc("plants", keep=1)


def test_commit_waits_for_a_running_gc_and_sees_what_it_took(folder: Ledger) -> None:
    """gc has listed an old blob; a writer stores the same blob again; gc removes it."""
    commit(folder, "plants", {"a": 5.0})
    rows = store_rows(folder, {"a": 1.0})
    gc_claim = claims.take_claim(folder.objects, GC_CLAIM, "gc")
    ended = threading.Event()

    def remove_and_end() -> None:
        ended.wait(0.5)
        folder.objects.delete(BlobRef(rows[0]["checkpoint"], rows[0]["checkpoint_size"], "safetensors").key)
        gc_claim.release()

    thread = threading.Thread(target=remove_and_end)
    thread.start()
    with pytest.raises(MissingObjectError, match=rows[0]["checkpoint"]):
        folder.transact("plants", lowest_of_each(rows))
    thread.join()
    assert folder.version("plants").number == 1


def test_commit_that_gc_has_robbed_is_proposed_again(folder: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = pins._wait_for_gc

    def rob(objects: ObjectStore, written_s: float) -> bool:
        monkeypatch.setattr(pins, "_wait_for_gc", wait)
        for key in blob_keys(folder):
            objects.delete(key)
        return True

    monkeypatch.setattr(pins, "_wait_for_gc", rob)
    proposals = []

    def propose(head: Version | None) -> Draft:
        proposals.append(head)
        return Draft(rows_to_table(store_rows(folder, {"a": 1.0})))

    assert folder.transact("plants", propose) is not None
    assert proposals == [None, None]
    assert folder.verify("plants") == []


def test_commit_of_a_blob_that_is_not_there_is_refused(ledger: Ledger) -> None:
    row = {"dataset": "a", "checkpoint": "0" * 64, "checkpoint_size": 3, "row": 0}
    with pytest.raises(MissingObjectError, match="0" * 64):
        ledger.transact("plants", lambda head: Draft(rows_to_table([row])))
    assert ledger.head("plants") is None


def test_readers_beside_commits_rollbacks_and_gc_see_whole_versions(folder: Ledger) -> None:
    commit(folder, "plants", {"a": 100.0, "b": 100.0})
    stop = threading.Event()
    problems: list[str] = []
    num_reads = 0

    def read() -> None:
        nonlocal num_reads
        reader = Ledger(Place(folder.uri).open())
        while not stop.is_set():
            try:
                version = reader.version("plants")
                values = {name: reader.champion("plants", name).coefficients["intercept"] for name in ("a", "b")}
                if version.num_datasets != 2 or min(values.values()) <= 0:
                    problems.append(f"{version} {values}")
                num_reads += 1
            except StoreError as exc:
                problems.append(str(exc))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(15):
        commit(folder, "plants", {"a": 99.0 - turn, "b": 99.0 - turn})
        if turn % 5 == 4:
            folder.rollback("plants", folder.version("plants").number - 1)
        make_old(folder)
        folder.gc("plants", keep=1)
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert num_reads > 10


def test_verify_finds_nothing_in_a_whole_collection(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 2.0, "b": 1.0})
    commit(ledger, "plants", {"a": 1.0})
    assert ledger.verify("plants") == []


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [flip, cut, lambda data: b"", lambda data: b"\x00" * len(data)])
@pytest.mark.parametrize("kind", ["checkpoint", "statistics"])
def test_damaged_blob_is_named_and_never_used(folder: Ledger, damage: Callable[[bytes], bytes], kind: str) -> None:
    commit(folder, "plants", {"a": 2.0})
    key = f"blobs/{folder.version('plants').find('a')[kind]}.safetensors"
    folder.objects.put(key, damage(folder.objects.read(key)))
    with pytest.raises(StoreError, match=f"{key} is corrupt"):
        folder.champion("plants", "a")
    assert [(problem.key, problem.version) for problem in folder.verify("plants")] == [(key, 1)]


def test_swapped_blob_is_named(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 2.0})
    commit(ledger, "plants", {"a": 1.0})
    keys = [f"blobs/{ledger.version('plants', number).find('a')['checkpoint']}.safetensors" for number in (1, 2)]
    ledger.objects.put(keys[1], ledger.objects.read(keys[0]))
    with pytest.raises(StoreError, match=f"{keys[1]} is corrupt: the sha256"):
        ledger.champion("plants", "a")
    assert [(problem.key, problem.version) for problem in ledger.verify("plants")] == [(keys[1], 2)]


def test_missing_blob_is_named(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 2.0})
    key = f"blobs/{ledger.version('plants').find('a')['checkpoint']}.safetensors"
    ledger.objects.delete(key)
    with pytest.raises(MissingObjectError, match=f"{key} is missing"):
        ledger.champion("plants", "a")
    assert [problem.key for problem in ledger.verify("plants")] == [key]


@pytest.mark.parametrize("damage", [flip, cut, lambda data: b"", lambda data: b"[]", lambda data: b'{"format": 1}'])
def test_damaged_commit_is_named(folder: Ledger, damage: Callable[[bytes], bytes]) -> None:
    for value in (3.0, 2.0, 1.0):
        commit(folder, "plants", {"a": value})
    key = folder.version("plants", 2).key
    folder.objects.put(key, damage(folder.objects.read(key)))
    with pytest.raises(StoreError, match=f"{key} is corrupt"):
        Ledger(folder.objects).version("plants", 2)
    assert [(problem.key, problem.version) for problem in folder.verify("plants")] == [(key, 2)]


def test_missing_commit_is_a_gap(ledger: Ledger) -> None:
    for value in (3.0, 2.0, 1.0):
        commit(ledger, "plants", {"a": value})
    ledger.objects.delete(ledger.version("plants", 2).key)
    assert [problem.version for problem in ledger.verify("plants")] == [2]


def test_damaged_part_of_a_large_table_is_named(folder: Ledger) -> None:
    version = commit(folder, "many", {f"d{number}": 1.0 for number in range(300)})
    assert version is not None
    key = version.shards[0].blob.key
    folder.objects.put(key, flip(folder.objects.read(key)))
    fresh = Ledger(folder.objects)
    with pytest.raises(StoreError, match=f"{key} is corrupt"):
        fresh.version("many").table()
    assert [problem.version for problem in fresh.verify("many")] == [1]


def test_newer_format_is_refused_and_said(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 2.0})
    key = ledger.version("plants").key
    ledger.objects.put(key, ledger.objects.read(key).replace(b'{"format": 1', b'{"format": 3', 1))
    with pytest.raises(StoreError, match="has format 3, and this gridline reads up to 2: upgrade gridline"):
        Ledger(ledger.objects).version("plants")


def test_damaged_run_object_is_named(ledger: Ledger) -> None:
    run = ledger.run("r1")
    run.create("blocks/0.json", b"{}")
    ledger.objects.put("runs/r1/blocks/0.json", flip(ledger.objects.read("runs/r1/blocks/0.json")))
    with pytest.raises(StoreError, match=r"runs/r1/blocks/0\.json is corrupt"):
        run.read("blocks/0.json")
