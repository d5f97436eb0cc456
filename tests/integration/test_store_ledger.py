"""The verbs of the ledger, over every kind of store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model_store.errors import (
    ExportFolderError,
    InvalidNameError,
    RunClaimedError,
    StoreError,
    StoreRefusedError,
    UnknownCollectionError,
    UnknownDatasetError,
    UnknownStoreError,
    UnknownVersionError,
)
from model_store.exports.exporting import export
from model_store.ledger.ledger import Ledger, open_ledger
from model_store.ledger.versions import Draft, Version
from tests.samples.models import commit, store_rows, values_of
from tests.samples.proposals import lowest_of_each
from tests.servers.stores import Place


@pytest.fixture
def ledger(place: Place) -> Ledger:
    return Ledger(place.open())


def test_commit_is_what_another_reader_sees(ledger: Ledger, place: Place) -> None:
    version = commit(ledger, "plants", {"a": 1.0, "b": 2.0}, "r1")
    seen = Ledger(place.open()).version("plants")
    assert seen == version
    assert (seen.number, seen.parent, seen.run_id, seen.action, seen.num_datasets) == (1, None, "r1", "train", 2)
    assert values_of(Ledger(place.open()), "plants") == {"a": 1.0, "b": 2.0}


def test_commit_follows_its_parent(ledger: Ledger) -> None:
    first, second = commit(ledger, "plants", {"a": 2.0}), commit(ledger, "plants", {"a": 1.0})
    assert first is not None and second is not None
    assert (second.number, second.parent) == (2, first.commit_id)


def test_commit_of_nothing_better_makes_no_version(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 1.0})
    assert commit(ledger, "plants", {"a": 1.5}) is None
    assert ledger.version("plants").number == 1


def test_commit_merges_with_another_writer(ledger: Ledger, place: Place) -> None:
    other = Ledger(place.open())
    mine = lowest_of_each(store_rows(ledger, {"a": 1.0, "b": 9.0}))
    heads = []

    def propose(head: Version | None) -> Draft | None:
        heads.append(head.number if head else 0)
        if len(heads) == 1:
            commit(other, "plants", {"a": 5.0, "b": 2.0})
            commit(other, "plants", {"c": 3.0})
        return mine(head)

    version = ledger.transact("plants", propose)
    assert version is not None and version.number == 3
    assert heads == [0, 2]
    assert values_of(other, "plants") == {"a": 1.0, "b": 2.0, "c": 3.0}


def test_old_versions_stay_as_they_were(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 2.0})
    commit(ledger, "plants", {"a": 1.0})
    assert [values_of(ledger, "plants", number) for number in (1, 2)] == [{"a": 2.0}, {"a": 1.0}]


def test_history_is_newest_first(ledger: Ledger) -> None:
    for value in (3.0, 2.0, 1.0):
        commit(ledger, "plants", {"a": value})
    assert [version.number for version in ledger.history("plants")] == [3, 2, 1]


def test_rollback_commits_old_content_again(ledger: Ledger, place: Place) -> None:
    commit(ledger, "plants", {"a": 2.0})
    commit(ledger, "plants", {"a": 1.0, "b": 1.0})
    version = ledger.rollback("plants", 1)
    assert (version.number, version.action, version.note) == (3, "rollback", "to version 1")
    assert values_of(Ledger(place.open()), "plants") == {"a": 2.0}


def test_rollback_to_the_head_changes_nothing(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 2.0})
    assert ledger.rollback("plants", 1).number == 1
    assert ledger.version("plants").number == 1


def test_collections_are_separate(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 1.0})
    commit(ledger, "houses", {"a": 7.0})
    assert ledger.collections() == ["houses", "plants"]
    assert (values_of(ledger, "plants"), values_of(ledger, "houses")) == ({"a": 1.0}, {"a": 7.0})


def test_champion_is_an_nn_linear(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 1.25})
    champion = ledger.champion("plants", "a")
    linear = champion.linear()
    assert isinstance(linear, torch.nn.Linear) and linear.weight.dtype == torch.get_default_dtype()
    assert linear(torch.tensor([[3.0]])).item() == 1.25
    assert list(champion.coefficients) == ["intercept", "area"]
    assert champion.row["score"] == 1.25 and champion.card.target == "y"


def test_large_collection_stands_in_parts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_store.ledger.champion_table.SHARD_ROWS", 100)
    values = {f"d{number:03d}": float(number) for number in range(300)}
    version = commit(ledger, "many", values)
    assert version is not None and len(version.shards) == 3 and not version.rows
    seen = open_like(ledger).version("many")
    assert seen.table()["dataset"].to_pylist() == sorted(values)
    assert all(seen.find(name)["score"] == values[name] for name in ("d000", "d099", "d100", "d299"))
    for name in ("", "d0995", "zzz"):
        with pytest.raises(UnknownDatasetError):
            seen.find(name)


def test_large_collection_rewrites_only_the_part_that_changed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_store.ledger.champion_table.SHARD_ROWS", 100)
    first = commit(ledger, "many", {f"d{number:03d}": float(number) for number in range(300)})
    second = commit(ledger, "many", {"d150": -1.0})
    third = commit(ledger, "many", {"d1505": 4.0})
    assert first is not None and second is not None and third is not None
    assert len({shard.blob for shard in second.shards} - {shard.blob for shard in first.shards}) == 1
    assert [shard.num_rows for shard in third.shards] == [100, 50, 51, 100]
    assert len({shard.blob for shard in third.shards} - {shard.blob for shard in second.shards}) == 2
    assert ledger.champion("many", "d150").coefficients["intercept"] == -1.0


def test_run_objects_are_written_once(ledger: Ledger, place: Place) -> None:
    run = ledger.run("r1")
    assert run.read("blocks/0.json") is None
    assert run.create("blocks/0.json", b"one") and run.create("blocks/0.json", b"one")
    assert not run.create("blocks/0.json", b"two")
    other = Ledger(place.open()).run("r1")
    other.create("blocks/1.json", b"more")
    assert other.names("blocks/") == ["blocks/0.json", "blocks/1.json"]
    assert other.read_many(["blocks/0.json", "blocks/1.json", "blocks/2.json"]) == {
        "blocks/0.json": b"one",
        "blocks/1.json": b"more",
    }


def test_run_claim_is_for_one(ledger: Ledger, place: Place) -> None:
    with ledger.run("r1").claim() as claim:
        claim.check()
        with pytest.raises(RunClaimedError, match=r"run 'r1' is claimed by a live process: process \d+ on"):
            Ledger(place.open()).run("r1").claim()
    with Ledger(place.open()).run("r1").claim():
        pass


def test_export_needs_no_gridline(tmp_path: Path) -> None:
    ledger = open_ledger(str(tmp_path / "store"))
    commit(ledger, "plants", {"a": 1.5, "b": 2.5})
    commit(ledger, "plants", {"c": 3.5})
    files = export(ledger.version("plants"), None, tmp_path / "all")
    assert {file.name for file in files} >= {"stack-0.safetensors", "stack-0.card.json", "index.json", "load.py"}
    code = (
        "import sys, torch\nfrom load import load\n"
        "print([load(name)(torch.ones(1, 1, dtype=torch.float64)).item() for name in 'abc'])\n"
        "assert not {'handler', 'model_store'} & set(sys.modules), 'gridline was loaded'"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "all", capture_output=True, text=True, check=False
    )
    assert output.returncode == 0, output.stderr
    assert json.loads(output.stdout) == [1.5, 2.5, 3.5]


def test_export_of_one_dataset_loads_strictly(ledger: Ledger, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    commit(ledger, "plants", {"a": 1.5, "b": 2.5})
    export(ledger.version("plants"), "b", tmp_path / "one")
    linear = torch.nn.Linear(1, 1)
    linear.load_state_dict(load_file(tmp_path / "one" / "stack-0.safetensors"))
    assert linear.bias.item() == 2.5
    with pytest.raises(ExportFolderError, match="is not empty"):
        export(ledger.version("plants"), "b", tmp_path / "one")


def test_what_is_not_there_is_named(ledger: Ledger) -> None:
    commit(ledger, "plants", {"a": 1.0})
    with pytest.raises(UnknownDatasetError, match="dataset 'zz' is not in version 1 of collection 'plants'"):
        ledger.champion("plants", "zz")
    with pytest.raises(UnknownVersionError, match="has versions 1 to 1, and not 7"):
        ledger.version("plants", 7)
    with pytest.raises(UnknownCollectionError, match=r"collection 'houses' is not in .* which has \['plants'\]"):
        ledger.version("houses")
    with pytest.raises(UnknownCollectionError):
        ledger.verify("houses")
    with pytest.raises(InvalidNameError, match=r"collection '\.\./x' is not a name"):
        ledger.version("../x")


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    ledger = open_ledger(str(tmp_path / "nothing"))
    assert ledger.head("plants") is None
    for verb in (ledger.collections, lambda: ledger.version("plants"), lambda: ledger.history("plants")):
        with pytest.raises(UnknownStoreError, match="there is no store at"):
            verb()
    assert not (tmp_path / "nothing").exists()


def test_open_ledger_takes_the_default_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRIDLINE_STORE", raising=False)
    assert open_ledger().uri == str(tmp_path / "gridline-store")
    monkeypatch.setenv("GRIDLINE_STORE", str(tmp_path / "elsewhere"))
    assert open_ledger().uri == str(tmp_path / "elsewhere")
    assert open_ledger(f"file://{tmp_path}/a%20b").uri == str(tmp_path / "a b")
    with pytest.raises(StoreError, match="'gs://x' is not an address"):
        open_ledger("gs://x")


def open_like(ledger: Ledger) -> Ledger:
    """Return a ledger that has cached nothing."""
    return Ledger(ledger.objects)


@pytest.mark.parametrize("out", ["file", "file/out"])
def test_export_to_where_no_folder_can_be_is_refused(ledger: Ledger, tmp_path: Path, out: str) -> None:
    commit(ledger, "plants", {"a": 1.0})
    (tmp_path / "file").touch()
    with pytest.raises(StoreRefusedError, match="Not a directory"):
        export(ledger.version("plants"), None, tmp_path / out)
