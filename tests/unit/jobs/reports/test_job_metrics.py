"""The metrics of a job, at each kind of end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import gridline
from jobs.config import make_config
from tests.servers.inline_cluster import InlineCluster

Values = dict[str, Any]


class Nights:
    """A job that runs night after night on a table with two groups, or on two listed datasets."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "job.prom"
        self.more: Values = {}
        self.options: Values = {}

    def write(self, noise: float = 0.1, slope: float = 2.0, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        for name in "ab":
            u_n = generator.normal(size=40)
            y_n = slope * u_n + noise * generator.normal(size=40)
            rows = "\n".join(f"{name},{u!r},{y!r}" for u, y in zip(u_n.tolist(), y_n.tolist(), strict=True))
            (self.folder / f"{name}.csv").write_text(f"key,u,y\n{rows}\n")
        parts = [(self.folder / f"{name}.csv").read_text().partition("\n")[2] for name in "ab"]
        (self.folder / "all.csv").write_text("key,u,y\n" + "".join(parts))

    def run(self, *, grouped: bool, **training: Any) -> Values:
        names = [("all", ["key"])] if grouped else [("a", None), ("b", None)]
        datasets = [
            {"name": name, "source": f"{name}.csv", "target": "y", "features": ["u"]}
            | ({"group_by": keys} if keys else {})
            for name, keys in names
        ]
        job = {"name": "plants", "datasets": datasets, "grid": {"learning_rate": [0.1, 9.0]}}
        outcome = gridline.train(
            job | {"training": {"epochs": 3000, **training}} | self.more,
            store=str(self.folder / "store"),
            base=self.folder,
            metrics_file=self.file,
            **self.options,
        )
        document: Values = json.loads(json.dumps(outcome.summary()))
        return document

    def exported(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.file.read_text())
        return {
            ",".join([each.name.removeprefix("gridline_job_"), *list(each.labels.values())[1:]]): each.value
            for family in families
            for each in family.samples
        }


@pytest.fixture
def nights(inline_cluster: InlineCluster, tmp_path: Path) -> Nights:
    made = Nights(tmp_path)
    made.write()
    return made


both = pytest.mark.parametrize("grouped", [False, True], ids=["listed", "groups"])


@both
def test_metrics_of_a_first_run_count_trials_datasets_and_rows(nights: Nights, grouped: bool) -> None:
    metrics = nights.run(grouped=grouped)["metrics"]
    assert metrics["trials"] == {"computed": 4, "reused": 0, "diverged": 2, "not_converged": 0}
    assert metrics["datasets"] == {"promoted": 2, "kept": 0, "failed": 0, "no_convergence": 0}
    assert (metrics["rows"], metrics["champions"], metrics["commits"]) == (80, 2, 1)
    assert metrics["groups"] == (2 if grouped else 0)
    files = ["all.csv"] if grouped else ["a.csv", "b.csv"]
    assert metrics["bytes_read"] == sum((nights.folder / name).stat().st_size for name in files)
    assert {"read", "join", "train", "compare", "commit"} <= metrics["phase_seconds"].keys()
    assert sum(metrics["phase_seconds"].values()) <= metrics["duration_seconds"]
    assert metrics["cpu_seconds"]["driver"] > 0
    assert "drift" not in metrics
    exported = nights.exported()
    assert exported["trials,computed"] == 4
    assert exported["last_success_timestamp_seconds"] == exported["last_run_timestamp_seconds"]


@both
def test_metrics_of_rows_that_moved_have_the_drift_of_the_champion(nights: Nights, grouped: bool) -> None:
    nights.run(grouped=grouped)
    nights.write(noise=0.3, slope=2.5, seed=1)
    metrics = nights.run(grouped=grouped)["metrics"]
    assert metrics["datasets"]["promoted"] == 2
    assert metrics["drift"] > 20  # the slope is wrong by 0.5: 0.25 + 0.09 beside 0.01
    assert 5 < metrics["worst_error_ratio"] < 20  # 0.09 beside 0.01


@both
def test_metrics_of_the_same_rows_have_no_drift(nights: Nights, grouped: bool) -> None:
    nights.run(grouped=grouped)
    metrics = nights.run(grouped=grouped, epochs=3001)["metrics"]
    assert (metrics["drift"], metrics["worst_error_ratio"]) == (0, pytest.approx(1, abs=1e-6))


@both
def test_metrics_have_champions_that_have_not_converged(nights: Nights, grouped: bool) -> None:
    metrics = nights.run(grouped=grouped, epochs=15)["metrics"]
    assert metrics["unconverged_champions"] == 2
    assert metrics["trials"]["not_converged"] >= 2
    assert nights.run(grouped=grouped)["metrics"]["unconverged_champions"] == 0


def test_metrics_of_a_run_that_fails_keep_the_last_success(nights: Nights) -> None:
    nights.run(grouped=False)
    before = nights.exported()
    for path in nights.folder.glob("*.csv"):
        path.unlink()
    with pytest.raises(gridline.DatasetsError):
        nights.run(grouped=False)
    after = nights.exported()
    assert (before["last_exit_code"], after["last_exit_code"]) == (0, 2)
    assert after["last_success_timestamp_seconds"] == before["last_success_timestamp_seconds"]
    assert after["last_run_timestamp_seconds"] > before["last_run_timestamp_seconds"]
    assert after["champions"] == 2


def test_metrics_of_a_run_with_a_bad_dataset_keep_the_last_success(nights: Nights) -> None:
    nights.run(grouped=False)
    before = nights.exported()
    (nights.folder / "b.csv").write_text("key,u,y\nb,1,x\n")
    metrics = nights.run(grouped=False)["metrics"]
    after = nights.exported()
    assert (metrics["datasets"]["failed"], after["last_exit_code"]) == (1, 5)
    assert after["last_success_timestamp_seconds"] == before["last_success_timestamp_seconds"]


def test_metrics_of_a_repeated_run_keep_what_it_did_not_compute(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.reports.repeated_run.SETTLED_NS", 0)  # else a file that has just changed is read again
    nights.run(grouped=False)
    nights.write(noise=0.3, slope=2.5, seed=1)
    nights.run(grouped=False)
    drift = nights.exported()["drift"]
    metrics = nights.run(grouped=False)["metrics"]
    assert metrics["trials"] == {"computed": 0, "reused": 4}
    assert (metrics["datasets"]["kept"], metrics["rows"]) == (2, 0)
    assert nights.exported()["drift"] == drift
    assert nights.exported()["trials,reused"] == 4


def test_metrics_have_the_cost_by_the_prices(nights: Nights) -> None:
    assert nights.run(grouped=False)["cost"]["dollars"] is None
    nights.more = {"prices": {"cpu_hour": 3600.0}}
    nights.write(seed=3)
    document = nights.run(grouped=False)
    cost, metrics = document["cost"], document["metrics"]
    assert cost["dollars"] == pytest.approx(sum(cost["cpu_seconds"].values()))
    assert cost["dollars_per_million_champions"] == pytest.approx(cost["dollars"] / 2 * 1e6)
    assert metrics["cost_dollars"] == cost["dollars"]


def test_prices_leave_a_job_what_it_is(inline_cluster: InlineCluster, nights: Nights) -> None:
    first = nights.run(grouped=True)
    nights.more = {"prices": {"gb": 1.0}}
    second = nights.run(grouped=True)
    assert (second["reused"], second["computed"]) == (first["computed"], 0)
    assert make_config(CONFIG).resolved() == make_config({**CONFIG, "prices": {"gb": 1.0}}).resolved()


CONFIG: Values = {
    "name": "plants",
    "datasets": [{"name": "a", "source": "a.csv", "target": "y", "features": ["u"]}],
    "grid": {"learning_rate": [0.1]},
}


def test_metrics_count_tasks_that_lost_their_worker(nights: Nights, inline_cluster: InlineCluster) -> None:
    inline_cluster.lost = (MemoryError,)

    def lose(number: int) -> None:
        if number == 1:
            raise MemoryError

    inline_cluster.before = lose
    assert nights.run(grouped=False)["metrics"]["retries"] == {"task": 1, "store": 0}


def test_metrics_of_a_dry_run_are_not_exported(nights: Nights) -> None:
    nights.options = {"dry_run": True}
    assert nights.run(grouped=False)["metrics"]["trials"]["computed"] == 4
    assert not nights.file.exists()


def test_metrics_of_a_job_that_is_skipped_are_those_of_the_run_under_way(
    nights: Nights, inline_cluster: InlineCluster
) -> None:
    skipped: list[Values] = []

    def run_beside(number: int) -> None:
        beside = Nights(nights.folder)
        beside.options = {"if_running": "skip"}
        skipped.append(beside.run(grouped=False))
        assert not nights.file.exists()

    inline_cluster.before = run_beside
    nights.options = {"if_running": "skip"}
    nights.run(grouped=False)
    assert "skipped" in skipped[0]
    assert "metrics" not in skipped[0]
    assert nights.exported()["trials,computed"] == 4
