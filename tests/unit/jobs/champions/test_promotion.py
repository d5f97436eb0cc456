"""What is said of a dataset whose trials did not converge, and that what it says to do works."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jobs.champions.challengers import challengers_of
from jobs.champions.promotion import reasons_of, remedies, warnings_of
from jobs.recipe import Policy
from jobs.sources.dataset import Dataset, fingerprint
from jobs.training.datasets import TrainedDatasets
from tests.samples.datasets import dataset, trained
from tests.samples.group_tables import job_of, train_groups

CONVERGED = Policy("train_mse", "min", require="converged")
FAIR = Policy("train_mse", "min", require="no worse than the mean")
SLOW = 1e-7  # a learning rate at which raw units do not get anywhere


def houses(scale: float = 1000.0) -> Dataset:
    """Return the usual dataset, its first feature in small units, as the sizes of houses are."""
    data = dataset()
    x_nd = data.x_nd * [scale, 1.0]
    return replace(data, x_nd=x_nd, fingerprint=fingerprint(data.card, x_nd, data.y_n))


def reason_of(dataset: TrainedDatasets, policy: Policy) -> str:
    assert challengers_of(dataset, dataset.trials(), policy, inference_statistics=True) is None
    return reasons_of(dataset, policy)[dataset.name]


def warning_of(dataset: TrainedDatasets, point: int = 0) -> str | None:
    (warning,) = warnings_of(dataset, torch.tensor([0]), torch.tensor([point]))
    return warning


def test_dataset_that_did_not_converge_is_not_promoted_and_says_what_to_do() -> None:
    found = trained(houses(), rates=[SLOW], epochs=10_000_000)
    reason = reason_of(found, CONVERGED)
    assert reason.startswith("no trial converged (the best has R² ")
    assert "set 'training.normalize: true'" in reason
    assert reason.endswith("or 'select.require: finite', to promote it as it is")


def test_advice_to_normalize_works() -> None:
    found = trained(houses(), rates=[0.1], epochs=10_000, normalize=True)
    assert challengers_of(found, found.trials(), CONVERGED, inference_statistics=True) is not None


def test_advice_of_more_epochs_works() -> None:
    short = trained(rates=[0.01], normalize=True, epochs=20)
    epochs = int(reason_of(short, CONVERGED).rpartition("more epochs: ")[2].split(";")[0])
    enough = trained(rates=[0.01], normalize=True, epochs=epochs)
    assert challengers_of(enough, enough.trials(), CONVERGED, inference_statistics=True) is not None


def test_dataset_worse_than_the_mean_is_promoted_only_where_it_is_asked_for() -> None:
    found = trained(rates=[1e-4], epochs=1)
    assert found.result.r2_mg.item() < 0
    assert reason_of(found, FAIR).startswith("the best trial predicts worse than the mean of the target (R² -")
    asked = replace(FAIR, require="finite")
    assert challengers_of(found, found.trials(), asked, inference_statistics=True) is not None
    warning = warning_of(found)
    assert warning is not None
    assert warning.startswith("it predicts worse than the mean of the target: ")


def test_quantile_below_the_mean_is_promoted() -> None:
    found = trained(engine="minibatch", loss="quantile", rates=[1e-4], epochs=1)
    assert found.result.r2_mg.item() < 0
    policy = replace(FAIR, metric="train_loss")
    assert challengers_of(found, found.trials(), policy, inference_statistics=True) is not None


def test_model_without_an_intercept_that_is_worse_than_the_mean_is_told_to_have_one() -> None:
    data = dataset()
    y_n = data.y_n + 100.0
    card = replace(data.card, bias=False)
    offset = replace(data, card=card, y_n=y_n, fingerprint=fingerprint(card, data.x_nd, y_n))
    found = trained(offset, rates=[0.1], epochs=100_000, bias=False)
    assert "set 'training.bias: true'" in reason_of(found, FAIR)


def test_warning_is_of_a_trial_that_did_not_converge() -> None:
    found = trained(rates=[0.001, 0.1], epochs=2000)
    assert found.result.converged_mg.tolist() == [[False, True]]
    assert warning_of(found, 1) is None
    others = warning_of(found)
    assert others == "not converged, but others are: set 'select.require: converged' to choose among these"
    alone = trained(rates=[0.001], epochs=2000)
    warning = warning_of(alone)
    assert warning is not None
    assert warning.startswith("not converged: no learning rate of the grid converges in 2000 epochs")


@pytest.mark.parametrize(
    ("settings", "todo"),
    [
        ({}, "set 'training.normalize: true'"),
        ({"normalize": True}, "set more 'training.epochs' than 2, or other learning rates"),
    ],
)
def test_warning_without_a_certificate_says_what_to_do(settings: dict[str, Any], todo: str) -> None:
    found = trained(engine="minibatch", loss="huber", rates=[0.001], epochs=2, **settings)
    warning = warning_of(found)
    assert warning is not None
    assert warning.endswith(todo)


def test_remedies_are_counted_in_a_few_words() -> None:
    sentences = [
        "why: set 'a: true', with which 3",
        "why: set 'a: true', with which 4",
        "as they are: remove one of them",
    ]
    assert remedies(sentences) == {"set 'a: true'": 2, "remove one of them": 1}


def unscaled_groups(folder: Path) -> str:
    random = np.random.default_rng(0)
    area, rooms = random.uniform(500, 4000, 200), random.uniform(1, 6, 200)
    price = 100 * area + 5000 * rooms + random.normal(0, 100, 200)
    site = [f"s{place % 10}" for place in range(200)]
    pq.write_table(pa.table({"area": area, "rooms": rooms, "yield": price, "site": site}), folder / "t.parquet")
    return "t.parquet"


def test_groups_that_did_not_converge_are_not_promoted_and_say_what_to_do(tmp_path: Path) -> None:
    job = job_of(unscaled_groups(tmp_path), ["area", "rooms"], require="converged")
    slow = job.model_copy(update={"grid": job.grid.model_copy(update={"learning_rate": (1e-8,)})})
    outcome = train_groups(slow, tmp_path)
    assert (outcome.num_trained, len(outcome.unconverged)) == (0, 10)
    assert remedies(outcome.unconverged.values()) == {"set 'training.normalize: true'": 10}
    (document, *_) = outcome.documents()
    assert (document["status"], document["best"]) == ("no convergence", None)


def test_groups_that_are_promoted_though_they_did_not_converge_say_what_to_do(tmp_path: Path) -> None:
    job = job_of(unscaled_groups(tmp_path), ["area", "rooms"], require=None)
    slow = job.model_copy(update={"grid": job.grid.model_copy(update={"learning_rate": (1e-8,)})})
    outcome = train_groups(slow, tmp_path)
    assert outcome.num_trained == 10
    assert remedies(outcome.warnings()) == {"set 'training.normalize: true'": 10}
    assert all("warning" in document for document in outcome.documents())
