"""Run once, extend, resume: a trial is computed once, and what a run was left at is where the next one goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.config import JobConfig
from tests.samples.jobs import RATES, Jobs
from tests.servers.inline_cluster import InlineCluster

MINIBATCH = {"batch_size": 8, "optimizer": "adam", "epochs": 5}


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path, 4)


def interrupt_at(number: int) -> Callable[[int], None]:
    def before(current: int) -> None:
        if current == number:
            raise KeyboardInterrupt

    return before


def test_second_run_trains_nothing_and_commits_nothing(jobs: Jobs, inline_cluster: InlineCluster) -> None:
    first = jobs.run(jobs.config())
    objects = jobs.stored()

    second = jobs.run(jobs.config())

    assert (first.computed, first.reused, first.committed, first.version) == (8, 0, True, 1)
    assert (second.computed, second.reused, second.committed, second.version) == (0, 8, False, 1)
    assert second.exit_code == 0
    assert inline_cluster.num_joined == 1
    assert jobs.stored() == objects


def test_second_run_reports_what_the_first_did(jobs: Jobs, inline_cluster: InlineCluster) -> None:
    first = jobs.run(jobs.config(validation={"fraction": 0.2, "seed": 1})).to_json()["datasets"]
    second = jobs.run(jobs.config(validation={"fraction": 0.2, "seed": 1})).to_json()["datasets"]

    assert [d["trials"] for d in second] == [d["trials"] for d in first]
    assert [d["best"] for d in second] == [d["best"] for d in first]


@pytest.mark.parametrize("training", [{}, MINIBATCH], ids=["closed form", "minibatch"])
@pytest.mark.parametrize("validation", [None, {"fraction": 0.3}, {"folds": 3}], ids=["none", "fraction", "folds"])
def test_added_rate_is_trained_alone(
    jobs: Jobs, inline_cluster: InlineCluster, training: Any, validation: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    jobs.run(jobs.config((0.01, 0.05), validation, training))

    extended = jobs.run(jobs.config((0.01, 0.03, 0.05), validation, training))

    assert (extended.computed, extended.reused) == (4, 8)
    fresh = Jobs(tmp_path_factory.mktemp("fresh"), 4).run(jobs.config((0.01, 0.03, 0.05), validation, training))
    for ours, theirs in zip(extended.datasets, fresh.datasets, strict=True):
        assert ours.trained and theirs.trained
        assert ours.trained.hyperparameters.learning_rate_mg.tolist() == [[0.01, 0.03, 0.05]]
        np.testing.assert_allclose(ours.trained.result.weight_mgp, theirs.trained.result.weight_mgp, rtol=1e-6)
        assert ours.trained.result.epoch_mg.tolist() == theirs.trained.result.epoch_mg.tolist()
        assert ours.trained.certificate and theirs.trained.certificate
        assert [v.outlook for v in ours.trained.certificate.verdicts] == [
            v.outlook for v in theirs.trained.certificate.verdicts
        ]


def test_trials_are_found_along_the_runs_they_were_taken_from(jobs: Jobs, inline_cluster: InlineCluster) -> None:
    jobs.run(jobs.config((0.01,)))
    jobs.run(jobs.config((0.01, 0.05)))

    third = jobs.run(jobs.config((0.005, 0.01, 0.05)))

    assert (third.computed, third.reused) == (4, 8)


def test_smaller_grid_needs_no_training(jobs: Jobs, inline_cluster: InlineCluster) -> None:
    jobs.run(jobs.config((0.01, 0.05, 0.1)))
    assert jobs.run(jobs.config((0.05,))).computed == 0


def test_automatic_rates_are_extended_by_a_momentum(jobs: Jobs, inline_cluster: InlineCluster) -> None:
    jobs.run(jobs.config("auto", momentum=[0.0]))

    extended = jobs.run(jobs.config("auto", momentum=[0.0, 0.9]))

    assert (extended.computed, extended.reused) == (48, 48)
    trained = extended.datasets[0].trained
    assert trained
    assert trained.hyperparameters.momentum_g.tolist() == [0.0, 0.9] * 12
    assert bool((trained.hyperparameters.learning_rate_mg.diff() >= 0).all())


def test_changed_dataset_alone_is_trained_again(jobs: Jobs, inline_cluster: InlineCluster) -> None:
    jobs.run(jobs.config())
    jobs.write("c", seed=99)

    second = jobs.run(jobs.config())

    assert (second.computed, second.reused) == (2, 6)
    assert [d.status for d in second.datasets] == ["kept"] * 4


@pytest.mark.parametrize(
    ("change", "validation"),
    [({"seed": 1}, None), ({"epochs": 51}, None), ({"normalize": True}, None), ({}, {"fraction": 0.2})],
)
def test_what_changes_a_result_is_part_of_its_key(
    jobs: Jobs, inline_cluster: InlineCluster, change: Any, validation: Any
) -> None:
    jobs.run(jobs.config())
    assert jobs.run(jobs.config(validation=validation, training=change)).reused == 0


def test_interrupted_run_goes_on_where_it_was(
    jobs: Jobs, inline_cluster: InlineCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = Jobs(tmp_path_factory.mktemp("undisturbed"), 4)
    undisturbed.run(undisturbed.config())
    inline_cluster.num_tasks = 0
    inline_cluster.before = interrupt_at(2)

    with pytest.raises(KeyboardInterrupt):
        jobs.run(jobs.config())
    inline_cluster.before = lambda number: None
    second = jobs.run(jobs.config())

    assert (second.computed, second.reused) == (4, 4)
    assert jobs.checkpoints() == undisturbed.checkpoints()
    keys = jobs.stored_keys()
    assert len(keys) == len(set(keys)) == 8
    assert set(keys) == set(undisturbed.stored_keys())


def test_dry_run_reuses_and_leaves_the_store_as_it_is(jobs: Jobs, inline_cluster: InlineCluster) -> None:
    jobs.run(jobs.config())
    before = sorted((jobs.folder / "store").rglob("*"))

    outcome = jobs.run(jobs.config((*RATES, 0.1)), dry_run=True)

    assert (outcome.computed, outcome.reused) == (4, 8)
    assert sorted((jobs.folder / "store").rglob("*")) == before


def test_corrupt_trials_are_trained_again(
    jobs: Jobs, inline_cluster: InlineCluster, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.run(jobs.config())
    path = next((jobs.folder / "store" / "runs").glob("*/blocks/*"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    second = jobs.run(jobs.config())

    assert (second.computed, second.reused) == (4, 4)
    assert f"{path.name} is corrupt" in caplog.text


def test_dataset_that_fails_does_so_alone(
    jobs: Jobs, inline_cluster: InlineCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.training import datasets as training

    def train_dataset(dataset: Any, recipe: Any, **options: Any) -> Any:
        if dataset.name == "b":
            raise ValueError("b is bad")
        return real(dataset, recipe, **options)

    real = training.train_dataset
    monkeypatch.setattr(training, "train_dataset", train_dataset)

    outcome = jobs.run(jobs.config())

    assert outcome.exit_code == 5
    assert {d.name: d.status for d in outcome.datasets} == {
        "a": "promoted",
        "b": "failed",
        "c": "promoted",
        "d": "promoted",
    }
    assert outcome.datasets[1].reason == "b is bad"
    assert outcome.computed == 6


def test_renamed_dataset_is_not_trained_again(jobs: Jobs, inline_cluster: InlineCluster) -> None:
    config = jobs.config()
    jobs.run(config)
    renamed = replace_names(config, "old_")

    outcome = jobs.run(renamed)

    assert (outcome.computed, outcome.committed) == (0, True)


def replace_names(config: JobConfig, prefix: str) -> JobConfig:
    datasets = tuple(d.model_copy(update={"name": prefix + d.name}) for d in config.datasets)
    return config.model_copy(update={"datasets": datasets})
