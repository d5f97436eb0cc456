"""Repair: whatever is damaged, a new version goes on from what is whole, and the rest is named with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli import main
from model_store.archives.version_fleet import fleet_of_version
from model_store.errors import (
    ContendedError,
    DamagedVersionError,
    EmptyVersionError,
    NewerFormatError,
    StoreUnreachableError,
    UnknownCollectionError,
)
from model_store.ledger.ledger import Ledger
from tests.samples.jobs import Jobs
from tests.samples.models import commit, values_of
from tests.servers.inline_cluster import InlineCluster
from tests.servers.stores import Place

Damage = Callable[[bytes], bytes]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    return data.replace(b'"run_id": "run"', b'"run_id": "rum"', 1)


def empty(data: bytes) -> bytes:
    return b""


@pytest.fixture
def ledger(place: Place) -> Ledger:
    """Return a ledger with three versions of `plants`, in any store."""
    return three(Ledger(place.open()))


@pytest.fixture
def folder(tmp_path: Path) -> Ledger:
    return three(Ledger(Place(str(tmp_path / "store")).open()))


def three(ledger: Ledger) -> Ledger:
    for number in (3.0, 2.0, 1.0):
        commit(ledger, "plants", {"a": number, "b": number})
    return ledger


def anew(ledger: Ledger) -> Ledger:
    """Return a ledger that has cached nothing."""
    return Ledger(ledger.objects)


def damage_commit(ledger: Ledger, number: int, damage: Damage = cut) -> Ledger:
    key = f"versions/plants/{number:020d}.json"
    ledger.objects.put(key, damage(ledger.objects.read(key)))
    return anew(ledger)


def blob_key(ledger: Ledger, dataset: str, number: int | None = None, kind: str = "checkpoint") -> str:
    return f"blobs/{ledger.version('plants', number).find(dataset)[kind]}.safetensors"


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_damaged_head_is_left_behind_and_nothing_else_is_lost(ledger: Ledger, damage: Damage) -> None:
    ledger = damage_commit(ledger, 3, damage)
    done = ledger.repair("plants")
    assert (done.version, done.committed, done.left) == (4, True, ())
    assert ("roll back again" in done.mended[0]) == (damage is empty)  # else it says of itself that a run made it
    assert done.mended[0].startswith("version 3 is lost") and "version 2 is the last whole one" in done.mended[0]
    assert values_of(anew(ledger), "plants") == {"a": 2.0, "b": 2.0}
    assert [(version.number, version.action) for version in anew(ledger).history("plants")] == [
        (4, "repair"),
        (2, "train"),
        (1, "train"),
    ]
    assert anew(ledger).version("plants").note == "after version 2; lost: 3"
    assert ledger.verify("plants") == []
    assert commit(anew(ledger), "plants", {"a": 1.0}) is not None
    assert anew(ledger).version("plants").lost == (3,)
    assert anew(ledger).repair("plants").committed is False


def test_every_verb_names_the_cure(folder: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    damage_commit(folder, 3)
    monkeypatch.setenv("GRIDLINE_STORE", folder.uri)
    verbs = [
        *(["models", verb, "plants"] for verb in ("list", "history", "verify")),
        *(["models", "show", "plants", "a"], ["models", "rollback", "plants", "--version", "1"]),
        *(["models", "release", "plants"], ["models", "export", "plants", "--out", str(tmp_path / "out")]),
        *(["package", "plants", "--out", str(tmp_path)], ["gc", "plants"]),
        ["predict", "plants", "--dataset", "a", "--set", "area=1"],
    ]
    for verb in verbs:
        assert "gridline models repair plants" in said(verb, 4), verb
    assert "plants is at version 4" in said(["models", "repair", "plants"], 0)
    assert "plants is whole" in said(["models", "repair", "plants"], 0)
    for verb in (["models", "rollback", "plants", "--version", "1"], ["models", "history", "plants"], ["gc", "plants"]):
        said(verb, 0)


def said(arguments: list[str], code: int) -> str:
    """Return what a verb prints, which ends with this exit code."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code or 0) == code, out.getvalue()
    return " ".join(out.getvalue().split())


def test_repair_says_what_the_damaged_commit_says_of_itself(folder: Ledger) -> None:
    folder.rollback("plants", 1, reason="wrong labels")
    (sentence,) = damage_commit(folder, 4).repair("plants", dry_run=True).mended
    assert sentence.endswith("If it was a rollback, what it took back is back: roll back again")
    assert "action 'rollback'" in sentence and "note 'to version 1: wrong labels'" in sentence
    with pytest.raises(DamagedVersionError):  # a dry run
        anew(folder).version("plants")


def test_several_damaged_and_missing_commits_are_named_at_once(folder: Ledger) -> None:
    folder.objects.delete("versions/plants/00000000000000000001.json")
    done = damage_commit(damage_commit(folder, 3), 2).repair("plants")
    assert [sentence.partition(" is lost")[0] for sentence in done.mended] == ["version 1", "version 2", "version 3"]
    assert anew(folder).version("plants").num_datasets == 0
    assert anew(folder).verify("plants") == []


def test_collection_without_a_whole_version_can_be_trained_again(tmp_path: Path, inline_cluster: InlineCluster) -> None:
    jobs = Jobs(tmp_path, 2)
    jobs.run(jobs.config())
    for path in (tmp_path / "store/versions/fruit").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedVersionError, match="gridline models repair fruit"):
        jobs.run(jobs.config())
    assert "no version is whole: train again" in jobs.ledger.repair("fruit").mended[0]
    with pytest.raises(EmptyVersionError, match="version 2 of collection 'fruit' has no models"):
        fleet_of_version(jobs.ledger.version("fruit"))
    outcome = jobs.run(jobs.config())
    assert (outcome.committed, outcome.version, outcome.computed) == (True, 3, 0)
    assert jobs.ledger.verify("fruit") == []


@pytest.mark.parametrize("kind", ["checkpoint", "statistics"])
def test_lost_blob_of_a_champion_brings_the_older_one_back(ledger: Ledger, kind: str) -> None:
    commit(ledger, "plants", {"b": 0.5, "c": 7.0})
    ledger.objects.delete(blob_key(ledger, "b"))
    done = ledger.repair("plants")
    assert (done.version, len(done.mended)) == (5, 1)
    assert "'b'" in done.mended[0] and "the champions of version 3 are restored" in done.mended[0]
    rows = {row["dataset"]: row["score"] for row in anew(ledger).version("plants").table().to_pylist()}
    assert rows == {"a": 1.0, "b": 1.0, "c": 7.0}
    (left, *more) = done.left
    assert not more and (left.version, left.key) == (4, blob_key(ledger, "c", 4))
    assert "run the job again" in left.todo


def test_lost_blob_that_no_older_version_replaces_is_named_with_what_to_do(folder: Ledger) -> None:
    for number in (1, 2, 3):
        folder.objects.delete(blob_key(folder, "a", number))
    done = folder.repair("plants")
    assert not done.committed and done.version == 3 and done.mended == ()
    assert [left.version for left in done.left] == [1, 2, 3]
    assert done.left[2].todo.startswith("run the job again")
    assert (
        done.left[0].todo.startswith("only older versions need it")
        and "gridline gc plants --keep 1" in done.left[0].todo
    )


def test_repair_restores_nothing_that_was_withdrawn(folder: Ledger) -> None:
    folder.rollback("plants", 2)
    folder.objects.delete(blob_key(folder, "a", 2))
    done = folder.repair("plants")
    assert "the champions of version 1 are restored" in done.mended[0]
    assert values_of(anew(folder), "plants") == {"a": 3.0, "b": 3.0}
    assert anew(folder).version("plants").withdrawals[0].versions == (3,)


@pytest.mark.parametrize("damage", [cut, None])
def test_lost_shard_is_replaced_by_the_rows_of_an_older_version(
    folder: Ledger, monkeypatch: pytest.MonkeyPatch, damage: Damage | None
) -> None:
    monkeypatch.setattr("model_store.ledger.champion_table.SHARD_ROWS", 100)
    values = {f"d{number:03d}": float(number) for number in range(300)}
    commit(folder, "many", values)
    version = commit(folder, "many", {"d150": -1.0, "d250": -2.0})
    assert version is not None
    key = version.shards[1].blob.key
    if damage is None:
        folder.objects.delete(key)
    else:
        folder.objects.put(key, damage(folder.objects.read(key)))
    assert [(problem.key, problem.kind) for problem in anew(folder).verify("many")] == [(key, "table")]
    done = anew(folder).repair("many")
    assert "the shard with the 100 champions from 'd100' on is lost: the 100 of version 1 are restored" in done.mended
    assert [left.key for left in done.left] == [key] and done.left[0].todo.startswith("only older versions need it")
    table = anew(folder).version("many").table()
    scores = dict(zip(table["dataset"].to_pylist(), table["score"].to_pylist(), strict=True))
    assert scores == values | {"d250": -2.0}


def test_shard_of_the_only_version_leaves_the_others(folder: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_store.ledger.champion_table.SHARD_ROWS", 100)
    version = commit(folder, "many", {f"d{number:03d}": float(number) for number in range(300)})
    assert version is not None
    folder.objects.delete(version.shards[0].blob.key)
    assert "so train them again" in anew(folder).repair("many").mended[0]
    assert anew(folder).version("many").num_datasets == 200


def test_crash_before_the_commit_of_a_repair_changes_nothing(folder: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_store.ledger.champion_table.INLINE_ROWS", 0)
    ledger = damage_commit(folder, 3)
    before = {info.key for info in ledger.objects.list("versions/")}
    create = ledger.objects.create

    def crash(key: str, data: bytes) -> bool:
        if key.startswith("versions/"):
            raise KeyboardInterrupt
        return create(key, data)

    monkeypatch.setattr(ledger.objects, "create", crash)
    with pytest.raises(KeyboardInterrupt):
        ledger.repair("plants")
    monkeypatch.setattr(ledger.objects, "create", create)
    assert {info.key for info in ledger.objects.list("versions/")} == before
    assert anew(ledger).repair("plants").version == 4
    assert values_of(anew(ledger), "plants") == {"a": 2.0, "b": 2.0}


def test_repair_whose_own_commit_is_cut_off_can_be_repaired(folder: Ledger) -> None:
    damage_commit(folder, 3).repair("plants")
    damage_commit(folder, 4)
    done = anew(folder).repair("plants")
    assert done.version == 5 and anew(folder).version("plants").lost == (3, 4)
    assert values_of(anew(folder), "plants") == {"a": 2.0, "b": 2.0}
    assert anew(folder).verify("plants") == []


def test_second_of_two_repairs_is_told(folder: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = damage_commit(folder, 3)
    create = ledger.objects.create

    def be_overtaken(key: str, data: bytes) -> bool:
        if key.startswith("versions/"):
            monkeypatch.setattr(ledger.objects, "create", create)
            anew(ledger).repair("plants")
        return create(key, data)

    monkeypatch.setattr(ledger.objects, "create", be_overtaken)
    with pytest.raises(ContendedError, match="another process has committed version 4: repair again"):
        ledger.repair("plants")
    assert anew(ledger).repair("plants").mended == ()


def test_store_that_does_not_answer_loses_nothing(folder: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    read = folder.objects.read

    def away(key: str, start: int = 0, stop: int | None = None) -> bytes:
        if key.startswith("blobs/"):
            raise StoreUnreachableError("the store", "it is away")
        return read(key, start, stop)

    monkeypatch.setattr(folder.objects, "read", away)
    for verb in (folder.repair, folder.verify):
        with pytest.raises(StoreUnreachableError):
            verb("plants")
    assert folder.version("plants").number == 3


def test_what_a_newer_gridline_wrote_is_not_lost(folder: Ledger) -> None:
    key = folder.version("plants").key
    folder.objects.put(key, folder.objects.read(key).replace(b'"format": 1', b'"format": 99', 1))
    with pytest.raises(NewerFormatError, match="upgrade gridline"):
        anew(folder).repair("plants")


def test_unknown_collection_is_not_repaired(folder: Ledger) -> None:
    with pytest.raises(UnknownCollectionError):
        folder.repair("trees")


def test_withdrawn_version_that_is_lost_is_said_and_stops_no_run(folder: Ledger) -> None:
    folder.rollback("plants", 2)
    done = damage_commit(folder, 3).repair("plants")
    assert "A rollback has withdrawn its models, which runs can't recognise now" in done.mended[0]
    folder.release("plants", ["a"])


def test_repair_in_json(folder: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDLINE_STORE", folder.uri)
    damage_commit(folder, 3)
    document = json.loads(said(["models", "repair", "plants", "--json"], 0))
    assert (document["version"], document["committed"], document["left"]) == (4, True, [])
