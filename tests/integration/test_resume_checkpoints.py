"""Long fits go on from their checkpoint: in a task that is started again, and in the next run. Bit by bit the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.cluster.checkpoint_stream import Saved, Saves
from jobs.config import JobConfig
from jobs.recipe import Recipe, make_recipe
from jobs.sources.dataset import Dataset
from jobs.sources.job_datasets import read_datasets
from jobs.training.checkpoints import train_block_saving
from jobs.training.datasets import TrainedDatasets
from jobs.trials.columns import KeyedTrials, keys_tensor
from jobs.trials.keys import dataset_key, trial_keys
from jobs.trials.serialization import write_trials
from tests.samples.jobs import Jobs
from tests.servers.inline_cluster import InlineCluster

EPOCHS = 7
KINDS = {
    "sgd": {},
    "momentum": {"momentum": 0.9, "nesterov": True},
    "adam": {"optimizer": "adam"},
    "rmsprop": {"optimizer": "rmsprop", "momentum": 0.9},
    "huber": {"loss": "huber", "optimizer": "adamw", "weight_decay": 0.01},
    "schedule": {"schedule": {"cosine": {}}, "normalize": True},
    "early stopping": {"early_stopping": {"patience": 2, "tolerance": 0.2}},
    "full batch": {"batch_size": "full", "engine": "minibatch"},
}
SPLITS: dict[str, Any] = {"none": None, "fraction": {"fraction": 0.3}, "folds": {"folds": 3}}


class DiedError(Exception):
    """The worker is gone."""


def minibatch(jobs: Jobs, validation: Any = None, **training: Any) -> JobConfig:
    # The last rate diverges on the way: the grid that goes on is smaller than the one that began.
    return jobs.config(
        (0.01, 0.05, 30.0), validation, {"batch_size": 8, "epochs": EPOCHS, "eval_epochs": 5, **training}
    )


def task_of(config: JobConfig, jobs: Jobs) -> tuple[Dataset, Recipe]:
    return read_datasets(config, jobs.folder)[0], make_recipe(config)


def content(dataset: Dataset, recipe: Recipe, trained: TrainedDatasets) -> bytes:
    keys = trial_keys(dataset_key("", dataset.card, recipe), recipe)
    result = trained.result
    return write_trials(
        [
            KeyedTrials(
                keys_tensor(keys),
                trained.hyperparameters,
                result,
                trained.train_moments,
                trained.score_moments,
            )
        ]
    )


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", KINDS)
def test_fit_that_is_stopped_at_any_epoch_ends_as_the_undisturbed_one(tmp_path: Path, kind: str, split: str) -> None:
    jobs = Jobs(tmp_path, 1)
    dataset, recipe = task_of(minibatch(jobs, SPLITS[split], **KINDS[kind]), jobs)
    sent: list[Saved] = []
    (undisturbed,) = train_block_saving([dataset], recipe, ["x"], 0.0, Saves({}, sent.append))
    assert len(sent) >= 3

    for saved in sent[:: len(sent) // 3]:
        (resumed,) = train_block_saving([dataset], recipe, ["x"], 1e9, Saves({"x": saved.data}, sent.append))
        assert content(dataset, recipe, resumed) == content(dataset, recipe, undisturbed)


def test_lost_task_goes_on_from_its_checkpoint(
    tmp_path: Path, inline_cluster: InlineCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, undisturbed = Jobs(tmp_path / "a", 2), Jobs(tmp_path / "b", 2)
    undisturbed.run(minibatch(undisturbed))
    epochs = die_in_epoch(monkeypatch, 4)
    inline_cluster.lost = (DiedError,)

    outcome = jobs.run(minibatch(jobs, checkpoint_every_s=1e-9))

    assert outcome.exit_code == 0
    assert jobs.checkpoints() == undisturbed.checkpoints()
    assert epochs == [1, 2, 3, 4, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7]


def test_next_run_goes_on_from_the_checkpoint_of_a_killed_one(
    tmp_path: Path, inline_cluster: InlineCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, undisturbed = Jobs(tmp_path / "a", 2), Jobs(tmp_path / "b", 2)
    undisturbed.run(minibatch(undisturbed))
    epochs = die_in_epoch(monkeypatch, 4)

    with pytest.raises(DiedError):
        jobs.run(minibatch(jobs, checkpoint_every_s=1e-9))
    jobs.run(minibatch(jobs, checkpoint_every_s=1e-9))

    assert jobs.checkpoints() == undisturbed.checkpoints()
    assert epochs == [1, 2, 3, 4, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7]


def test_corrupt_checkpoint_is_not_used(
    tmp_path: Path, inline_cluster: InlineCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    jobs, undisturbed = Jobs(tmp_path / "a", 1), Jobs(tmp_path / "b", 1)
    undisturbed.run(minibatch(undisturbed))
    die_in_epoch(monkeypatch, 4)
    with pytest.raises(DiedError):
        jobs.run(minibatch(jobs, checkpoint_every_s=1e-9))
    for path in (jobs.folder / "store" / "runs").glob("*/checkpoints/*/*"):
        path.write_bytes(path.read_bytes()[:-1])

    jobs.run(minibatch(jobs, checkpoint_every_s=1e-9))

    assert "is corrupt" in caplog.text
    assert jobs.checkpoints() == undisturbed.checkpoints()


def die_in_epoch(monkeypatch: pytest.MonkeyPatch, number: int, nth: int = 1) -> list[int]:
    """Let the nth run of that epoch die; return the list to which every epoch that begins is added."""
    from jobs.engines.minibatch import engine

    real, epochs = engine.run_epoch, list[int]()

    def run_epoch(loader: Any, stack: Any, settings: Any, epoch: int) -> Any:
        epochs.append(epoch)
        if epoch == number and epochs.count(number) == nth:
            raise DiedError
        return real(loader, stack, settings, epoch)

    monkeypatch.setattr(engine, "run_epoch", run_epoch)
    return epochs
