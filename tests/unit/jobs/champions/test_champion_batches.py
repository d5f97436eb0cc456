"""From trials to a commit: the challenger, what it is compared with, and what a version then holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from handler.rows.model_card import Feature
from jobs.champions.batch import Batch
from jobs.champions.challengers import challengers_of
from jobs.champions.commit import commit_better
from jobs.champions.comparison import Comparison, recorded_loss
from jobs.engines.losses import loss_text
from jobs.recipe import Policy
from jobs.sources.dataset import Dataset, fingerprint
from jobs.training.datasets import TrainedDatasets
from model_store import open_ledger
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from tests.samples.datasets import dataset, trained

TRAIN = Policy("train_mse", "min")
LOSS = Policy("train_loss", "min")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(str(tmp_path / "store"))


def challenger(of: TrainedDatasets | Dataset, policy: Policy = TRAIN, **values: Any) -> Batch:
    """Return the best trial of a dataset, ready to be offered."""
    rows, dataset = (None, of) if isinstance(of, TrainedDatasets) else (of, trained(of, **values))
    found = challengers_of(dataset, dataset.trials(), policy, inference_statistics=True)
    assert found is not None
    return Batch(found, policy, rows)


def offered(ledger: Ledger, *batches: Batch, run_id: str = "run") -> tuple[Version | None, dict[str, Comparison]]:
    version, comparisons = commit_better(ledger, "c", batches, run_id, "2026-01-01T00:00:00+00:00")
    names = [name for batch in batches for name in batch.challengers.name_m.to_pylist()]
    return version, {name: stood[0] for name, stood in zip(names, comparisons, strict=True)}


def score(batch: Batch) -> float:
    return batch.challengers.score_m.item()


def point(batch: Batch) -> int:
    return int(batch.challengers.point_m)


def test_challenger_is_the_best_trial_by_the_metric() -> None:
    outcome = trained(rates=[0.0001, 0.1, 0.01])
    assert point(challenger(outcome)) == 1
    assert score(challenger(outcome)) == outcome.result.train_mse_mg[0, 1].item()
    assert point(challenger(outcome, Policy("r2", "max"))) == 1


def test_challenger_of_a_grid_that_diverged_is_none() -> None:
    diverged = trained(rates=[50.0, 90.0])
    assert challengers_of(diverged, diverged.trials(), TRAIN, inference_statistics=True) is None


def test_challenger_leaves_diverged_trials_out() -> None:
    assert point(challenger(trained(rates=[50.0, 0.1]))) == 1


def test_challenger_brings_the_inference_statistics_of_least_squares() -> None:
    """Source of the oracle: statsmodels' OLS."""
    data = dataset()
    stack = challenger(data, rates=[0.1], epochs=100_000).challengers.stack
    fit = sm.OLS(data.y_n, np.column_stack([data.x_nd, np.ones(data.num_rows)])).fit()
    known = stack.statistics
    assert known is not None
    assert known.inverse_cross_product_mpp is not None
    assert known.residual_variance_m is not None
    assert known.residual_variance_m.item() == pytest.approx(fit.mse_resid)
    covariance_pp = known.inverse_cross_product_mpp[0] * known.residual_variance_m
    np.testing.assert_allclose(covariance_pp.numpy(), fit.cov_params(), rtol=1e-8)


def test_offer_commits_the_first_champion(ledger: Ledger) -> None:
    first = challenger(dataset())
    version, comparisons = offered(ledger, first)
    assert version is not None
    assert (version.number, comparisons["a"].reason) == (1, "there was no champion")
    champion = ledger.champion("c", "a")
    assert np.array_equal(champion.weight_d, first.challengers.stack.weight_md[0])
    (row,) = version.table().to_pylist()
    assert (row["run_id"], row["metric"], row["mode"], row["score"]) == ("run", "train_mse", "min", score(first))
    assert (row["engine"], row["epoch"], row["num_rows"]) == ("closed_form", 200, 30)
    assert json.loads(row["hyperparameters"])["learning_rate"] == 0.1
    assert json.loads(row["comparison"])["promoted"]


def test_offer_of_the_champion_again_commits_nothing(ledger: Ledger) -> None:
    offered(ledger, challenger(dataset()))
    version, comparisons = offered(ledger, challenger(dataset()))
    assert version is None
    assert comparisons["a"].reason == "it is the champion already"


@pytest.mark.parametrize(("epochs", "promoted"), [(400, True), (50, False)])
def test_offer_on_the_same_rows_compares_the_scores(ledger: Ledger, epochs: int, promoted: bool) -> None:
    first = challenger(dataset(), rates=[0.01])
    offered(ledger, first)
    second = challenger(dataset(), rates=[0.01], epochs=epochs)
    version, comparisons = offered(ledger, second)
    assert comparisons["a"].basis == "same rows"
    assert (comparisons["a"].promoted, version is not None) == (promoted, promoted)
    assert comparisons["a"].champion_score == score(first)


def test_offer_on_other_rows_scores_the_champion_again(ledger: Ledger) -> None:
    offered(ledger, challenger(dataset(seed=0), epochs=5000))
    other = dataset(seed=1, num_rows=50)
    champion = ledger.champion("c", "a")
    predicted_n = other.x_nd @ champion.weight_d + champion.coefficients["intercept"]
    _, comparisons = offered(ledger, challenger(other, epochs=1))
    assert comparisons["a"].basis == "scored again"
    assert comparisons["a"].champion_score == pytest.approx(np.mean((predicted_n - other.y_n) ** 2))
    assert not comparisons["a"].promoted


def test_offer_on_another_split_scores_the_champion_on_the_rows_that_validate(ledger: Ledger) -> None:
    policy = Policy("val_mse", "min")
    offered(ledger, challenger(dataset(folds=[0, -1, -1]), policy))
    other = dataset(folds=[-1, 0, -1])
    champion = ledger.champion("c", "a")
    held = np.asarray(other.fold_n) == 0
    predicted_n = other.x_nd @ champion.weight_d + champion.coefficients["intercept"]
    _, comparisons = offered(ledger, challenger(other, policy))
    assert comparisons["a"].basis == "scored again"
    expected = np.mean((predicted_n - other.y_n)[held] ** 2)
    assert comparisons["a"].champion_score == pytest.approx(expected)


def test_offer_by_r2_scores_the_champion_again_by_r2(ledger: Ledger) -> None:
    policy = Policy("r2", "max")
    offered(ledger, challenger(dataset(seed=0), policy))
    other = dataset(seed=1)
    champion = ledger.champion("c", "a")
    predicted_n = other.x_nd @ champion.weight_d + champion.coefficients["intercept"]
    _, comparisons = offered(ledger, challenger(other, policy))
    expected = 1 - np.mean((predicted_n - other.y_n) ** 2) / np.var(other.y_n)
    assert comparisons["a"].champion_score == pytest.approx(expected)


def test_offer_for_another_target_replaces_the_champion_and_says_so(ledger: Ledger) -> None:
    offered(ledger, challenger(dataset()))
    data = dataset()
    renamed = replace(data, card=replace(data.card, target="z"), fingerprint="0" * 64)
    version, comparisons = offered(ledger, challenger(renamed, epochs=1))
    assert version is not None
    assert (comparisons["a"].basis, comparisons["a"].champion_score) == ("another question", None)
    assert comparisons["a"].reason == "the champion predicts 'y': another question"


def test_offer_for_a_transformed_target_replaces_the_champion(ledger: Ledger) -> None:
    offered(ledger, challenger(dataset()))
    data = dataset()
    logged = replace(data, card=replace(data.card, target_transform="log"), fingerprint="0" * 64)
    _, comparisons = offered(ledger, challenger(logged, epochs=1))
    assert comparisons["a"].basis == "another question"
    offered(ledger, challenger(data, replace(TRAIN, promote="always")))
    _, comparisons = offered(ledger, challenger(logged, epochs=1))
    assert comparisons["a"].reason == "the champion predicts 'y': another question"


def wider(seed: int = 1, folds: list[int] | None = None) -> Dataset:
    """Return the usual features of other rows, and one more, in front."""
    data = dataset(seed=seed, num_rows=50, folds=folds)
    extra_n = np.random.default_rng(7).normal(size=data.num_rows)
    card = replace(data.card, features=(Feature("w"), *data.card.features))
    x_nd = np.column_stack([extra_n, data.x_nd])
    more = {"fill_k": np.full(3, np.nan), "feature_min_k": x_nd.min(0), "feature_max_k": x_nd.max(0)}
    return replace(data, card=card, x_nd=x_nd, fingerprint=fingerprint(card, x_nd, data.y_n), **more)


def test_offer_with_one_more_feature_scores_the_champion_on_the_same_rows(ledger: Ledger) -> None:
    offered(ledger, challenger(dataset(), epochs=5000))
    data = wider()
    champion = ledger.champion("c", "a")
    predicted_n = data.x_nd[:, 1:] @ champion.weight_d + champion.coefficients["intercept"]
    version, comparisons = offered(ledger, challenger(data, epochs=5000))
    assert comparisons["a"].basis == "scored again"
    assert comparisons["a"].champion_score == pytest.approx(np.mean((predicted_n - data.y_n) ** 2))
    assert version is not None


def test_offer_with_one_more_feature_without_rows_is_scored_from_moments(ledger: Ledger) -> None:
    """Groups and streamed datasets have no rows here."""
    offered(ledger, challenger(dataset(), epochs=5000))
    data = wider()
    _, of_rows = offered(ledger, challenger(data, epochs=1))
    _, of_moments = offered(ledger, replace(challenger(data, epochs=1), dataset=None))
    assert of_moments == of_rows
    assert not of_moments["a"].promoted


def test_offer_with_one_more_feature_scores_the_champion_by_the_loss(ledger: Ledger) -> None:
    policy = Policy("val_loss", "min")
    offered(ledger, robust(dataset(folds=[0, -1, -1]), "mae", policy))
    other = wider(folds=[-1, 0, -1])
    champion = ledger.champion("c", "a")
    predicted_n = other.x_nd[:, 1:] @ champion.weight_d + champion.coefficients["intercept"]
    expected = np.abs(predicted_n - other.y_n)[np.asarray(other.fold_n) == 0].mean()
    _, comparisons = offered(ledger, robust(other, "mae", policy))
    assert comparisons["a"].basis == "scored again"
    assert comparisons["a"].champion_score == pytest.approx(expected)


def test_offer_of_rows_without_what_the_champion_needs_is_promoted_and_says_so(ledger: Ledger) -> None:
    offered(ledger, challenger(wider(), epochs=5000))
    version, comparisons = offered(ledger, challenger(dataset(), epochs=1))
    assert version is not None
    assert (comparisons["a"].basis, comparisons["a"].champion_score) == ("not comparable", None)
    assert comparisons["a"].reason == "the champion needs 'w', which these rows lack: no score to compare with"


def test_offer_always_promotes_when_told_to(ledger: Ledger) -> None:
    offered(ledger, challenger(dataset()))
    version, comparisons = offered(ledger, challenger(dataset(), replace(TRAIN, promote="always"), epochs=1))
    assert version is not None
    assert comparisons["a"].reason == "promote: always"


def test_offer_of_some_datasets_leaves_the_others_as_they_are(ledger: Ledger) -> None:
    offered(ledger, challenger(dataset("a")), challenger(dataset("b")), run_id="first")
    version, _ = offered(ledger, challenger(dataset("b"), epochs=400), run_id="second")
    assert version is not None
    rows = {row["dataset"]: row["run_id"] for row in version.table().to_pylist()}
    assert rows == {"a": "first", "b": "second"}


def test_offer_stores_equal_models_once(ledger: Ledger) -> None:
    version, _ = offered(ledger, challenger(dataset("a")), challenger(dataset("b")))
    assert version is not None
    first, second = version.table().to_pylist()
    assert first["checkpoint"] == second["checkpoint"]


def robust(data: Dataset, loss: str, policy: Policy = LOSS, **values: Any) -> Batch:
    return challenger(data, policy, engine="minibatch", loss=loss, **values)


def champion_residuals(ledger: Ledger, data: Dataset) -> np.ndarray:
    champion = ledger.champion("c", "a")
    predicted_n = data.x_nd @ champion.weight_d + champion.coefficients["intercept"]
    return np.asarray(predicted_n - data.y_n)


def test_offer_of_another_loss_scores_the_champion_by_the_loss_of_the_challenger(ledger: Ledger) -> None:
    """The Huber loss of a model is below its mean absolute error, however good it is."""
    data = dataset()
    offered(ledger, robust(data, "mae", epochs=300))
    residual_n = np.abs(champion_residuals(ledger, data))
    huber = np.where(residual_n <= 1, residual_n**2 / 2, residual_n - 0.5).mean()
    _, comparisons = offered(ledger, robust(data, "huber", epochs=1))
    assert comparisons["a"].basis == "scored again"
    assert comparisons["a"].champion_score == pytest.approx(huber)
    assert not comparisons["a"].promoted


def test_offer_by_a_loss_on_other_rows_scores_the_champion_on_those_that_validate(ledger: Ledger) -> None:
    policy = Policy("val_loss", "min")
    offered(ledger, robust(dataset(folds=[0, -1, -1]), "mae", policy))
    other = dataset(seed=1, folds=[-1, 0, -1])
    expected = np.abs(champion_residuals(ledger, other))[np.asarray(other.fold_n) == 0].mean()
    _, comparisons = offered(ledger, robust(other, "mae", policy))
    assert comparisons["a"].basis == "scored again"
    assert comparisons["a"].champion_score == pytest.approx(expected)


def test_offer_by_the_same_loss_on_the_same_rows_takes_the_recorded_score(ledger: Ledger) -> None:
    first = robust(dataset(), "mae")
    offered(ledger, first)
    _, comparisons = offered(ledger, robust(dataset(), "mae", epochs=1))
    assert (comparisons["a"].basis, comparisons["a"].champion_score) == ("same rows", score(first))


def test_offer_of_another_loss_without_its_rows_is_not_compared(ledger: Ledger) -> None:
    offered(ledger, robust(dataset(), "mae"))
    _, comparisons = offered(ledger, replace(robust(dataset(), "huber", epochs=1), dataset=None))
    assert comparisons["a"].champion_score is None
    assert comparisons["a"].basis == "not comparable"
    assert "those of scanned sources are not kept" in comparisons["a"].reason


def test_offer_by_the_loss_of_mse_without_its_rows_is_scored_from_moments(ledger: Ledger) -> None:
    offered(ledger, challenger(dataset(), epochs=5000))
    _, comparisons = offered(ledger, replace(challenger(dataset(seed=1), LOSS, epochs=1), dataset=None))
    assert comparisons["a"].basis == "scored again"


def test_recorded_loss_of_a_row_from_before_the_column_is_that_of_its_engine() -> None:
    assert recorded_loss({"loss": None, "engine": "closed_form"}) == "mse"
    assert recorded_loss({"loss": None, "engine": "minibatch"}) is None
    assert recorded_loss({"loss": loss_text("quantile", {"quantile": 0.9}), "engine": "minibatch"}) == "quantile(0.9)"
