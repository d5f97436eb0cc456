"""Fleets from files to a store, by command line and as a job: what they answer, what they refuse, what they keep."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from jobs.cli import main
from jobs.config import JobConfig
from jobs.errors import ConfigError
from jobs.groups.stored import part_of_bytes
from jobs.progress import Progress
from jobs.reports.outcome import JobOutcome
from jobs.run import run_job
from model_store import open_ledger
from model_store.ledger.champion_table import INLINE_ROWS
from model_store.ledger.ledger import Ledger
from tests.integration.farms import WEIGHTS, document, groups, statuses
from tests.servers.inline_cluster import InlineCluster
from tests.servers.ray_cluster import RayHead

ODD_KEYS = ["é ß 日本", "k" * 3000, "a,b", 'say "x"', "../../etc/passwd", "C:\\x", "%2e%2e", "two\nlines", "..", "-"]


class Farm:
    """A folder with data, a job over it, and a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()

    @property
    def store(self) -> str:
        return str(self.folder / "store")

    @property
    def ledger(self) -> Ledger:
        return open_ledger(self.store)

    def write(self, table: pa.Table, name: str = "t.parquet") -> Path:
        pq.write_table(table, self.data / name, row_group_size=16)
        return self.data / name

    def run(self, **settings: Any) -> JobOutcome:
        config = JobConfig.model_validate(document("data/*.parquet", **settings))
        return run_job(config, self.folder, self.ledger, progress=Progress(quiet=True))

    def job(self, **settings: Any) -> str:
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump(document("data/*.parquet", **settings)))
        return str(path)

    def files(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code of a command, and the one document that it prints."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_fleet_on_ray_is_trained_listed_shown_and_asked(
    ray_head: RayHead, farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [f"site {number}" for number in range(40)]
    farm.write(groups(keys[:25]), "a.parquet")
    farm.write(groups(keys[20:], seed=1), "b.parquet")
    store = ("--store", farm.store)
    ended = ray_head.python("-m", "jobs", "train", farm.job(), *store, "--json", RAY_ADDRESS=ray_head.address)
    assert ended.returncode == 0, ended.stderr
    trained = json.loads(ended.stdout)
    assert (trained["version"], trained["committed"], len(trained["datasets"])) == (1, True, 40)
    for dataset in trained["datasets"]:
        assert dataset["status"] == "promoted"
        assert len(dataset["trials"]) == 2
        assert dataset["best"]["coefficients"] == pytest.approx(WEIGHTS, abs=0.05)
    _, listed = command(capsys, "models", "list", "farms", *store)
    assert [each["dataset"] for each in listed["datasets"]] == sorted(keys)
    assert {each["num_rows"] for each in listed["datasets"]} == {12, 24}
    _, shown = command(capsys, "models", "show", "farms", "site 7", *store)
    best = {each["dataset"]: each["best"] for each in trained["datasets"]}["site 7"]
    assert shown["coefficients"] == pytest.approx(best["coefficients"])
    _, asked = command(capsys, "predict", "farms", "--dataset", "site 7", "--set", "u=1", "--set", "v=3", *store)
    expected = sum(best["coefficients"][name] * value for name, value in (("u", 1), ("v", 3), ("intercept", 1)))
    assert asked["predictions"] == [pytest.approx(expected)]


def test_fleet_with_a_bad_group_commits_the_others(
    inline_cluster: InlineCluster, farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    farm.write(pa.concat_tables([groups(["a", "b"]), groups(["one row"], rows_each=1)]))
    code, printed = command(capsys, "train", farm.job(), "--store", farm.store)
    assert code == 5
    assert {each["dataset"]: each["status"] for each in printed["datasets"]} == {
        "a": "promoted",
        "b": "promoted",
        "one row": "failed",
    }
    assert printed["datasets"][-1]["reason"] == "one row trains: add rows"
    assert open_ledger(farm.store).version("farms").num_datasets == 2


def test_fleet_without_convergence_says_so_and_commits_the_others(
    inline_cluster: InlineCluster, farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = groups(["wide"])
    for name in ("u", "v"):
        wide = wide.set_column(wide.schema.get_field_index(name), name, [np.asarray(wide[name]) * 1e6])
    farm.write(pa.concat_tables([groups(["a"]), wide]))
    code, printed = command(capsys, "train", farm.job(), "--store", farm.store)
    assert code == 3
    by_name = {each["dataset"]: each for each in printed["datasets"]}
    assert by_name["a"]["status"] == "promoted"
    assert by_name["wide"]["status"] == "no convergence"
    assert by_name["wide"]["best"] is None
    assert by_name["wide"]["reason"].startswith("no trial converged to a finite loss: ")
    assert stored_statuses(farm, "wide") == ["diverged", "diverged"]


def stored_statuses(farm: Farm, dataset: str) -> list[str]:
    """Return the statuses of a dataset's trials in the stored parts."""
    paths = list((farm.folder / "store").glob("runs/*/parts/*/*/*"))
    parts = [part_of_bytes(path.read_bytes().split(b"\n", 2)[2], path.name) for path in paths]
    tables = [pq.read_table(io.BytesIO(part.trials)) for part in parts if part.trials]
    return [trial["status"] for table in tables for trial in table.to_pylist() if trial["dataset"] == dataset]


def test_keys_never_become_paths(
    inline_cluster: InlineCluster,
    farm: Farm,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = Farm(tmp_path_factory.mktemp("plain"))
    farm.write(groups(ODD_KEYS))
    other.write(groups([f"key {number}" for number in range(len(ODD_KEYS))]))
    assert statuses(farm.run()) == dict.fromkeys(ODD_KEYS, "promoted")
    assert other.run().exit_code == 0
    _, listed = command(capsys, "models", "list", "farms", "--store", farm.store)
    assert [each["dataset"] for each in listed["datasets"]] == sorted(ODD_KEYS)
    code, shown = command(capsys, "models", "show", "farms", "../../etc/passwd", "--store", farm.store)
    assert (code, shown["dataset"]) == (0, "../../etc/passwd")
    assert {shape(path) for path in farm.files()} == {shape(path) for path in other.files()}


def shape(path: str) -> str:
    """Return a path with its digests and random names left out: what two stores of like jobs have in common."""
    return re.sub(r"[0-9a-f]{32,64}", "#", path)


def test_models_list_of_a_table_in_parts_is_one_document(
    inline_cluster: InlineCluster, farm: Farm, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [f"{number:04d}" for number in range(INLINE_ROWS + 50)]
    farm.write(groups(keys, rows_each=6))
    assert farm.run().exit_code == 0
    assert farm.ledger.version("farms").shards
    code, listed = command(capsys, "models", "list", "farms", "--store", farm.store)
    assert (code, listed["collection"], listed["version"]) == (0, "farms", 1)
    assert [each["dataset"] for each in listed["datasets"]] == keys
    for each in (listed["datasets"][0], listed["datasets"][-1]):
        _, shown = command(capsys, "models", "show", "farms", each["dataset"], "--store", farm.store)
        assert {name: shown[name] for name in each} == each


def other_schema(farm: Farm) -> None:
    table = groups(["c"])
    farm.write(table.set_column(0, "u", [["east"] * len(table)]), "b.parquet")


def truncated(farm: Farm) -> None:
    path = farm.write(groups(["c"]), "b.parquet")
    path.write_bytes(path.read_bytes()[:-40])


def missing_column(farm: Farm) -> None:
    farm.write(groups(["c"]).drop_columns("v"), "b.parquet")


def broken_page(farm: Farm) -> None:
    path = farm.write(groups(["c"] * 40, noise=0.5), "b.parquet")
    data = path.read_bytes()
    path.write_bytes(data[:64] + b"\xff" * 256 + data[320:])


@pytest.mark.parametrize("damage", [other_schema, truncated, missing_column, broken_page])
def test_file_that_does_not_fit_is_named_and_nothing_is_committed(
    inline_cluster: InlineCluster, farm: Farm, capsys: pytest.CaptureFixture[str], damage: Any
) -> None:
    farm.write(groups(["a", "b"]), "a.parquet")
    assert farm.run().committed
    damage(farm)
    before = farm.files()
    code, printed = command(capsys, "train", farm.job(), "--store", farm.store)
    assert code == 2, printed
    assert "b.parquet" in printed["error"]
    assert committed(farm.files()) == committed(before)


def committed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files that readers of the store see."""
    return {path: data for path, data in files.items() if path.startswith(("store/versions", "store/blobs"))}


def test_second_run_commits_nothing(inline_cluster: InlineCluster, farm: Farm) -> None:
    farm.write(groups(["a", "b", "c"]))
    first = farm.run()
    again = farm.run()
    assert (first.version, first.committed, again.version, again.committed) == (1, True, 1, False)
    assert statuses(again) == dict.fromkeys("abc", "kept")


def test_changed_group_is_retrained_and_promoted_where_it_is_better_on_the_new_rows(
    inline_cluster: InlineCluster, farm: Farm
) -> None:
    table = groups(["a", "b", "c"])
    farm.write(table)
    assert farm.run().version == 1
    before = {name: farm.ledger.champion("farms", name).coefficients for name in "abc"}
    y_n = np.asarray(table["y"]).copy()
    y_n[12:24] += 3.0  # b alone
    farm.write(table.set_column(2, "y", [y_n]))
    outcome = farm.run()
    assert outcome.version == 2
    assert statuses(outcome) == {"a": "kept", "b": "promoted", "c": "kept"}
    (b,) = [each for each in outcome.documents() if each["dataset"] == "b"]
    assert b["comparison"]["basis"] == "scored again"
    assert b["comparison"]["champion_score"] == pytest.approx(9.0, rel=0.05)  # 3 off in every row
    after = {name: farm.ledger.champion("farms", name).coefficients for name in "abc"}
    assert after["b"]["intercept"] == pytest.approx(before["b"]["intercept"] + 3, abs=1e-6)
    assert (after["a"], after["c"]) == (before["a"], before["c"])


def test_fleets_that_share_a_name_are_refused(inline_cluster: InlineCluster, farm: Farm) -> None:
    farm.write(groups(["a", "b"]))
    settings = document("data/*.parquet")
    settings["datasets"].append(settings["datasets"][0] | {"name": "again"})
    with pytest.raises(ConfigError, match=r"'sites' and 'again' have groups of the same names.* set 'prefix: sites/'"):
        run_job(JobConfig.model_validate(settings), farm.folder, farm.ledger, progress=Progress(quiet=True))
    assert not list(farm.folder.glob("store/versions/**/*.json"))
