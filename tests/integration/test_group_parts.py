"""Parts of a source are computed once: the next run trains those that are missing; one that fails fails alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from jobs.cli import main
from jobs.config import JobConfig
from jobs.errors import DataError
from jobs.progress import Progress
from jobs.reports.outcome import JobOutcome
from jobs.run import run_job
from jobs.trials import earlier_runs
from model_store import open_ledger
from tests.integration.farms import document, groups, statuses
from tests.servers.inline_cluster import InlineCluster

KEYS = [f"site {number}" for number in range(12)]
MINIBATCH = {"batch_size": 8, "optimizer": "adam", "epochs": 5}
FOLDS = {"folds": 3, "seed": 1}


class Farm:
    """Groups of a folder, a job over them, and a store for each name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pq.write_table(groups(KEYS, noise=0.3), folder / "sites.parquet", row_group_size=16)

    def config(
        self, rates: Any = (0.05, 0.2), training: Any = None, grid: Any = None, job: Any = None, **dataset: Any
    ) -> JobConfig:
        job = document("sites.parquet", **dataset) | (job or {})
        job["grid"] = {"learning_rate": rates, **(grid or {})}
        job["training"] |= training or {}
        return JobConfig.model_validate(job)

    def run(self, config: JobConfig, store: str = "store", **options: Any) -> JobOutcome:
        ledger = open_ledger(str(self.folder / store))
        return run_job(config, self.folder, ledger, progress=Progress(quiet=True), **options)

    def champions(self, store: str = "store") -> dict[str, tuple[str, int]]:
        rows = open_ledger(str(self.folder / store)).version("farms").table().to_pylist()
        return {row["dataset"]: (row["checkpoint"], row["row"]) for row in rows}

    def parts(self, store: str = "store") -> dict[str, bytes]:
        paths = (self.folder / store).glob("runs/*/parts/*/*/*")
        return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path)


@pytest.fixture
def cluster(inline_cluster: InlineCluster) -> InlineCluster:
    inline_cluster.num_cpus = 4  # and so many parts
    return inline_cluster


def ended(cluster: InlineCluster, kind: str) -> list[str]:
    """Return the tasks of a kind that were run."""
    return [key for key in cluster.keys if f" {kind} " in key]


def at_part(cluster: InlineCluster, number: int, error: BaseException) -> Callable[[int], None]:
    """Return what raises an error ahead of training a part."""

    def before(_: int) -> None:
        if cluster.keys[-1] == f"sites part {number}":
            raise error

    return before


@pytest.mark.parametrize("num_cpus", [4, 9])
@pytest.mark.parametrize("training", [{}, MINIBATCH], ids=["closed form", "minibatch"])
def test_killed_run_goes_on_with_the_parts_that_are_missing(
    farm: Farm, cluster: InlineCluster, training: Any, num_cpus: int
) -> None:
    config = farm.config(training=training)
    farm.run(config, "undisturbed")
    cluster.before = at_part(cluster, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        farm.run(config)
    before, stored = farm.parts(), len(farm.parts())
    cluster.before, cluster.keys = lambda _: None, []

    cluster.num_cpus = num_cpus
    outcome = farm.run(config)

    assert stored == 2
    assert ended(cluster, "part") == ["sites part 2", "sites part 3"]
    assert outcome.computed + outcome.reused == 2 * len(KEYS)
    assert 0 < outcome.computed < 2 * len(KEYS)
    assert before.items() <= farm.parts().items()
    if num_cpus == 4:
        assert farm.parts() == farm.parts("undisturbed")
        assert farm.champions() == farm.champions("undisturbed")


def test_second_run_reads_nothing(farm: Farm, cluster: InlineCluster) -> None:
    first = farm.run(farm.config())
    second = farm.run(farm.config())
    assert (first.computed, first.reused, second.computed, second.reused) == (24, 0, 0, 24)
    assert cluster.num_joined == 1
    assert_same(second, first)


@pytest.mark.parametrize("validation", [None, FOLDS], ids=["none", "folds"])
@pytest.mark.parametrize("training", [{}, MINIBATCH], ids=["closed form", "minibatch"])
def test_added_rate_is_trained_alone(farm: Farm, cluster: InlineCluster, training: Any, validation: Any) -> None:
    farm.run(farm.config((0.01, 0.3), training, validation=validation))

    extended = farm.run(farm.config((0.01, 0.1, 0.3), training, validation=validation))

    assert (extended.computed, extended.reused) == (12, 24)
    fresh = farm.run(farm.config((0.01, 0.1, 0.3), training, validation=validation), "fresh")
    assert_same(extended, fresh)


def test_added_rate_is_compared_by_a_metric_of_which_more_is_better(farm: Farm, cluster: InlineCluster) -> None:
    by_r2 = {"select": {"metric": "r2"}}
    farm.run(farm.config((1e-6, 0.3), job=by_r2))
    extended = farm.run(farm.config((1e-6, 1e-5, 0.3), job=by_r2))
    assert extended.computed == 12
    assert {each["best"]["learning_rate"] for each in extended.documents()} == {0.3}
    assert_same(extended, farm.run(farm.config((1e-6, 1e-5, 0.3), job=by_r2), "fresh"))


def test_equal_trials_of_two_runs_are_decided_as_in_one(farm: Farm, cluster: InlineCluster) -> None:
    """At these rates nothing is learned: trials are equal in score, and the smallest rate wins."""
    training, finite = {"epochs": 1, "keep": "last"}, {"select": {"require": "finite"}}
    farm.run(farm.config((2e-300, 3e-300), training, job=finite))
    extended = farm.run(farm.config((2e-300, 1e-300, 3e-300), training, job=finite))
    assert {each["best"]["learning_rate"] for each in extended.documents()} == {1e-300}
    fresh = farm.run(farm.config((2e-300, 1e-300, 3e-300), training, job=finite), "fresh")
    assert_same(extended, fresh)


def test_automatic_rates_are_extended_by_a_momentum(farm: Farm, cluster: InlineCluster) -> None:
    farm.run(farm.config("auto", grid={"momentum": [0.0]}))
    extended = farm.run(farm.config("auto", grid={"momentum": [0.0, 0.9]}))
    fresh = farm.run(farm.config("auto", grid={"momentum": [0.0, 0.9]}), "fresh")
    assert (extended.computed, extended.reused) == (fresh.computed // 2, fresh.computed // 2)
    assert_same(extended, fresh)


def test_added_rate_of_groups_of_which_some_had_not_converged(farm: Farm, cluster: InlineCluster) -> None:
    first = farm.run(farm.config((1e9, 2e9)))
    assert (first.exit_code, first.committed) == (3, False)
    extended = farm.run(farm.config((0.1, 1e9, 2e9)), run_id=first.run_id)  # that no version names
    assert (extended.computed, extended.reused, extended.exit_code) == (12, 24, 0)
    fresh = farm.run(farm.config((0.1, 1e9, 2e9)), "fresh")
    assert_same(extended, fresh)


def test_removed_rate_that_was_nowhere_best_needs_no_training(farm: Farm, cluster: InlineCluster) -> None:
    farm.run(farm.config((1e-6, 0.2)))
    smaller = farm.run(farm.config((0.2,)))
    assert (smaller.computed, smaller.reused) == (0, 12)
    assert_same(smaller, farm.run(farm.config((0.2,)), "fresh"))


def test_removed_rate_that_was_best_needs_training(farm: Farm, cluster: InlineCluster) -> None:
    finite = {"select": {"require": "finite"}}
    farm.run(farm.config((1e-6, 0.2), job=finite))
    smaller = farm.run(farm.config((1e-6,), job=finite))
    assert (smaller.computed, smaller.reused) == (12, 0)
    assert {each["best"]["learning_rate"] for each in smaller.documents()} == {1e-6}


def test_other_run_finds_the_parts_of_the_run_that_the_head_names(farm: Farm, cluster: InlineCluster) -> None:
    farm.run(farm.config(), run_id="first")
    second = farm.run(farm.config(), run_id="second")
    assert (second.computed, second.reused, cluster.num_joined) == (0, 24, 1)
    assert (farm.folder / "store/runs/second/from/first").is_file()


def test_dry_run_reuses_parts_and_leaves_the_store_as_it_is(farm: Farm, cluster: InlineCluster) -> None:
    farm.run(farm.config())
    before = sorted((farm.folder / "store").rglob("*"))
    outcome = farm.run(farm.config((0.05, 0.1, 0.2)), dry_run=True)
    assert (outcome.computed, outcome.reused) == (12, 24)
    assert sorted((farm.folder / "store").rglob("*")) == before


def test_part_that_is_corrupt_is_trained_again(farm: Farm, cluster: InlineCluster) -> None:
    farm.run(farm.config())
    damaged = min((farm.folder / "store").glob("runs/*/parts/*/*/*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    cluster.keys = []
    assert farm.run(farm.config()).exit_code == 0
    assert ended(cluster, "part") == ["sites part 0"]


def test_changed_file_is_trained_again(farm: Farm, cluster: InlineCluster) -> None:
    farm.run(farm.config())
    pq.write_table(groups(KEYS, seed=1), farm.folder / "sites.parquet")
    assert farm.run(farm.config()).reused == 0


@pytest.mark.parametrize("training", [{}, MINIBATCH], ids=["closed form", "minibatch"])
def test_part_that_fails_fails_alone_and_is_tried_again(farm: Farm, cluster: InlineCluster, training: Any) -> None:
    config = farm.config(training=training)
    cluster.before = at_part(cluster, 1, ValueError("no\nmemory"))

    first = farm.run(config)

    failed = {each["dataset"]: each["reason"] for each in first.documents() if each["status"] == "failed"}
    assert 0 < len(failed) < len(KEYS)
    assert set(failed.values()) == {"no memory"}
    assert (first.exit_code, first.committed) == (5, True)
    assert statuses(first) == {key: "failed" if key in failed else "promoted" for key in KEYS}
    cluster.before, cluster.keys = lambda _: None, []
    second = farm.run(config)
    assert ended(cluster, "part") == ["sites part 1"]
    assert (second.exit_code, second.computed) == (0, 2 * len(failed))
    assert {name for name, status in statuses(second).items() if status == "promoted"} == set(failed)


def test_part_that_is_lost_too_often_fails_alone(farm: Farm, cluster: InlineCluster) -> None:
    cluster.lost = (OSError,)
    cluster.before = at_part(cluster, 3, OSError("worker died"))
    outcome = farm.run(farm.config(training={"max_failures": 1}))
    reasons = {each["reason"] for each in outcome.documents() if each["status"] == "failed"}
    assert outcome.exit_code == 5
    assert reasons == {"block 'sites part 3' was lost 2 times; the last: OSError: worker died"}


def test_parts_that_all_fail_end_the_job(farm: Farm, cluster: InlineCluster) -> None:
    def before(_: int) -> None:
        if " part " in cluster.keys[-1]:
            raise DataError("the files changed")

    cluster.before = before
    with pytest.raises(DataError, match="the files changed"):
        farm.run(farm.config())


def test_scan_that_fails_leaves_the_other_datasets_of_the_job(farm: Farm, cluster: InlineCluster) -> None:
    pq.write_table(groups(["x"]).drop_columns("key"), farm.folder / "listed.parquet")
    pq.write_table(groups(["a", "b"]), farm.folder / "other.parquet")
    pq.write_table(groups(["c", "d"]).drop_columns("v"), farm.folder / "broken.parquet")
    job = document("sites.parquet")
    sites = job["datasets"][0]
    listed = {key: value for key, value in sites.items() if key != "group_by"}
    job["datasets"] = [
        sites | {"name": "broken", "source": "broken.parquet"},
        listed | {"name": "listed", "source": "listed.parquet"},
        sites | {"name": "other", "source": "other.parquet"},
    ]
    outcome = farm.run(JobConfig.model_validate(job))
    assert (outcome.exit_code, outcome.committed, cluster.num_joined) == (5, True, 1)
    assert statuses(outcome) == {"listed": "promoted", "a": "promoted", "b": "promoted", "broken": "failed"}
    (reason,) = (each["reason"] for each in outcome.documents() if each["dataset"] == "broken")
    assert "broken.parquet: column 'v' is missing" in reason


@pytest.mark.parametrize("verb", ["plan", "train"])
@pytest.mark.parametrize(
    ("key", "value", "training"),
    [
        ("verify", True, {}),
        ("num_workers", 2, {}),
        ("use_gpu", True, {"engine": "minibatch"}),
        ("checkpoint_every_s", 30, {"engine": "minibatch"}),
    ],
)
def test_setting_without_effect_on_groups_is_refused(
    farm: Farm, capsys: pytest.CaptureFixture[str], verb: str, key: str, value: Any, training: Any
) -> None:
    job = document("sites.parquet")
    job["training"] |= training | {key: value}
    code, error = refusal(farm, capsys, verb, job)
    assert code == 2
    assert f"training.{key}: {value} has no effect on the groups of dataset 'sites': remove it" in error


@pytest.mark.parametrize("verb", ["plan", "train"])
@pytest.mark.parametrize(("key", "value"), [("verify", True), ("use_gpu", True)])
def test_setting_without_effect_on_a_streamed_dataset_is_refused(
    farm: Farm, capsys: pytest.CaptureFixture[str], verb: str, key: str, value: Any
) -> None:
    with (farm.folder / "long.csv").open("wb") as file:
        file.truncate(17 * 2**20)
    job = document("long.csv")
    del job["datasets"][0]["group_by"]
    job["training"] |= {"engine": "minibatch", "memory_mb": 64, "checkpoint_every_s": 5, key: value}
    code, error = refusal(farm, capsys, verb, job)
    assert code == 2
    assert f"training.{key}: {value} has no effect on dataset 'sites'" in error
    assert "raise 'training.memory_mb'" in error


def refusal(farm: Farm, capsys: pytest.CaptureFixture[str], verb: str, job: Any) -> tuple[int, str]:
    """Return the exit code of a verb, and the one line that it says."""
    path = farm.folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    with pytest.raises(SystemExit) as ended:
        main([verb, str(path), *(["--store", str(farm.folder / "store")] if verb == "train" else []), "--json"])
    assert isinstance(ended.value.code, int)
    error = json.loads(capsys.readouterr().out)["error"]
    assert "\n" not in error
    return ended.value.code, error


def assert_same(outcome: JobOutcome, expected: JobOutcome) -> None:
    """Compare all that is said of datasets, but for how they stood: that depends on what was committed before.

    A grid of another width is multiplied in another order: last digits may differ.
    """
    for ours, theirs in zip(outcome.documents(), expected.documents(), strict=True):
        assert ours["dataset"] == theirs["dataset"]
        for trial, other in zip([ours["best"], *ours["trials"]], [theirs["best"], *theirs["trials"]], strict=True):
            assert trial.keys() == other.keys()
            if trial["coefficients"] != other["coefficients"]:  # None where a trial diverged
                assert trial["coefficients"] == pytest.approx(other["coefficients"], rel=1e-9, abs=1e-9)
            for key in trial.keys() - {"coefficients"}:
                assert trial[key] == (
                    pytest.approx(other[key], rel=1e-9) if isinstance(other[key], float) else other[key]
                )


def test_parts_are_copied_from_runs_that_are_too_many(
    farm: Farm, cluster: InlineCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three sources one changes each night: so the parts are in more runs than the next run reads."""
    monkeypatch.setattr(earlier_runs, "MAX_RUNS", 2)
    monkeypatch.setattr(earlier_runs, "MAX_USED", 1)
    names = ["one", "two", "three"]
    datasets = [document(f"{name}.parquet", name=name)["datasets"][0] for name in names]
    config = farm.config(job={"datasets": datasets})

    def write(name: str, noise: float) -> None:
        keys = [f"{name} {number}" for number in range(4)]
        pq.write_table(groups(keys, noise=noise), farm.folder / f"{name}.parquet", row_group_size=16)

    for name in names:
        write(name, noise=0.5)
    assert farm.run(config).computed == 3 * 8
    for night, name in enumerate([*names, *names], start=1):
        write(name, noise=0.01 * night)
        outcome = farm.run(config)
        assert (outcome.computed, outcome.reused) == (8, 16), (night, name)
