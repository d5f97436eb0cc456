"""Weights of rows, whichever way they train: as repeated rows, as statsmodels' WLS, and the same in every way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from pydantic import ValidationError

from jobs.champions.challengers import challengers_of
from jobs.champions.rescoring import mean_loss
from jobs.champions.verification import verify
from jobs.config import JobConfig
from jobs.engines.losses import SquaredError
from jobs.errors import DataError
from jobs.recipe import Policy, make_recipe
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.job_datasets import resolve_source
from jobs.training.datasets import TrainedDatasets, train_dataset
from model_store.objects.s3_settings import S3Settings
from tests.samples.group_tables import assert_same_trials, documents_of, train_groups, trials_of

FEATURES: list[Any] = ["a", {"name": "b", "missing": "mean"}, {"name": "color", "kind": "categorical"}]
CLOSED: dict[str, Any] = {"epochs": 30_000}
BATCHES: dict[str, Any] = {"engine": "minibatch", "batch_size": 16, "epochs": 4, "dtype": "float64"}
WAYS: dict[str, dict[str, Any]] = {
    "closed form": CLOSED,
    "full batch": {"engine": "minibatch", "epochs": 60, "dtype": "float64"},
    "batches": BATCHES,
    "huber": {"loss": "huber", "huber_delta": 0.7, "epochs": 30, "dtype": "float64"},
    "huber in units of the target": {"loss": "huber", "normalize": True, "epochs": 30, "dtype": "float64"},
    "mae": {"loss": "mae", "epochs": 30, "dtype": "float64"},
    "quantile": {"loss": "quantile", "quantile": 0.8, "epochs": 30, "dtype": "float64"},
    "adam": {"optimizer": "adam", "epochs": 20, "dtype": "float64"},
}


def frame(num_rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Return rows of three groups with weights from 0 to 3; those of weight 0 have cells that nothing could read."""
    random = np.random.default_rng(seed)
    a, b, noise = random.normal(size=(3, num_rows))
    color = np.where(random.random(num_rows) < 0.4, "red", "blue")
    weight = random.integers(0, 4, num_rows).astype(np.float64)
    rows = pd.DataFrame({"a": a, "b": b, "color": color, "y": a - 2 * b + (color == "red") + 0.5 * noise, "w": weight})
    rows["key"] = random.choice(["north", "south", "west"], num_rows)
    rows.loc[random.random(num_rows) < 0.1, "b"] = np.nan
    rows.loc[rows["w"] == 0, "y"] = np.nan
    return rows


def repeated(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each row as often as its weight says."""
    return rows.loc[rows.index.repeat(rows["w"].astype(int))]


def config(rows: pd.DataFrame, folder: Path, file: str = "t.csv", **keys: Any) -> JobConfig:
    """Return a job of the rows; `training` and `grid` are among the keys."""
    rows.to_csv(folder / file, index=False)
    training, rates = keys.pop("training", CLOSED), keys.pop("rates", [0.02, 0.05])
    dataset = {"name": "t", "source": file, "target": "y", "features": FEATURES, **keys}
    return JobConfig.model_validate(
        {"name": "j", "datasets": [dataset], "grid": {"learning_rate": rates}, "training": training}
    )


def alone(job: JobConfig, folder: Path) -> TrainedDatasets:
    recipe = make_recipe(job)
    return train_dataset(read(job, folder), recipe)


def read(job: JobConfig, folder: Path) -> Dataset:
    source = resolve_source(job.datasets[0], folder, S3Settings())
    return read_dataset(source, bias=job.training.bias, in_canonical_order=job.training.batch_size != "full")


def in_groups(job: JobConfig, folder: Path) -> list[dict[str, Any]]:
    """Return the trials of a single dataset that is scanned: in one group."""
    [document] = documents_of(train_groups(job, folder)).values()
    assert document["status"] != "failed", document
    trials: list[dict[str, Any]] = document["trials"]
    return trials


@pytest.mark.parametrize("way", [way for way in WAYS if way != "batches"])
def test_frequency_weights_are_repeated_rows(tmp_path: Path, way: str) -> None:
    weighted = config(frame(), tmp_path, weights="w", weights_kind="frequency", training=WAYS[way])
    plain = config(repeated(frame()), tmp_path, "repeated.csv", training=WAYS[way])
    assert_same_trials(trials_of(alone(weighted, tmp_path)), trials_of(alone(plain, tmp_path)))


@pytest.mark.parametrize("kind", ["precision", "frequency"])
def test_weighted_statistics_are_those_of_statsmodels(tmp_path: Path, kind: str) -> None:
    rows = frame().dropna()
    rows["w"] *= 1.0 if kind == "frequency" else 0.013
    trained = alone(config(rows, tmp_path, weights="w", weights_kind=kind, rates=[0.2]), tmp_path)
    found = challengers_of(trained, trained.trials(), Policy("train_mse", "min"), inference_statistics=True)
    assert found is not None
    known = found.stack.statistics
    assert known is not None
    assert known.inverse_cross_product_mpp is not None
    assert known.residual_variance_m is not None
    rows = repeated(rows) if kind == "frequency" else rows
    x_np = np.column_stack([rows["a"], rows["b"], rows["color"] == "red", np.ones(len(rows))])
    fit = (sm.OLS(rows["y"], x_np) if kind == "frequency" else sm.WLS(rows["y"], x_np, weights=rows["w"])).fit()
    weight_p = [*found.stack.weight_md[0].tolist(), found.stack.bias_m.item()]  # type: ignore[union-attr]
    np.testing.assert_allclose(weight_p, fit.params, rtol=1e-8)
    covariance_pp = known.inverse_cross_product_mpp[0] * known.residual_variance_m
    np.testing.assert_allclose(covariance_pp.diagonal().sqrt(), fit.bse, rtol=1e-8)
    freedom_m = known.degrees_of_freedom_m if kind == "frequency" else known.num_rows_m - 4
    assert freedom_m is not None
    assert freedom_m.item() == fit.df_resid
    assert trained.result.r2_mg.item() == pytest.approx(fit.rsquared)
    assert known.num_rows_m.item() == (rows.index.nunique() if kind == "frequency" else len(rows))


@pytest.mark.parametrize("factor", [1e-9, 1e6])
@pytest.mark.parametrize("way", WAYS)
def test_scale_of_precision_weights_changes_nothing(tmp_path: Path, way: str, factor: float) -> None:
    keys = {"training": WAYS[way], "weights": "w"}
    rows = frame()
    first = trials_of(alone(config(rows, tmp_path, **keys), tmp_path))
    if "batch_size" in WAYS[way]:  # the order of batches is by the content of rows, their weights among it
        rows["w"] = np.minimum(rows["w"], 1.0)
        first = trials_of(alone(config(rows, tmp_path, **keys | {"training": WAYS["full batch"]}), tmp_path))
        keys["training"] = WAYS["full batch"]
    rows["w"] *= factor
    assert_same_trials(trials_of(alone(config(rows, tmp_path, **keys), tmp_path)), first)


@pytest.mark.parametrize("validation", [None, {"folds": 3, "seed": 1}, {"fraction": 0.3, "seed": 2}])
@pytest.mark.parametrize("way", WAYS)
def test_weighted_groups_train_as_alone(tmp_path: Path, way: str, validation: dict[str, Any] | None) -> None:
    keys = {"training": WAYS[way], "validation": validation, "weights": "w"}
    rows = frame()
    found = documents_of(train_groups(config(rows, tmp_path, group_by="key", **keys), tmp_path))
    for name, of_group in rows.groupby("key"):
        expected = trials_of(alone(config(of_group, tmp_path, "one.csv", **keys), tmp_path))
        assert_same_trials(found[str(name)]["trials"], expected)


@pytest.mark.parametrize("validation", [{"folds": 2, "seed": 1}, {"fraction": 0.3, "seed": 2}])
def test_small_weighted_groups_are_split_as_alone(tmp_path: Path, validation: dict[str, Any]) -> None:
    rows = frame(400).assign(key=[f"k{at}" for at in range(80)] * 5, color="red")
    rows["color"] = np.where(rows.index % 2, "red", "blue")
    features = ["a", {"name": "b", "missing": "mean"}]
    keys = {"training": {"epochs": 50}, "validation": validation, "weights": "w", "features": features}
    found = documents_of(train_groups(config(rows, tmp_path, group_by="key", **keys), tmp_path))
    trained = 0
    for name, of_group in rows.groupby("key"):
        try:
            expected = trials_of(alone(config(of_group, tmp_path, "one.csv", **keys), tmp_path))
        except DataError:
            assert found[str(name)]["status"] == "failed"
            continue
        if found[str(name)]["status"] == "failed":
            assert found[str(name)]["reason"].startswith("all its rows fall into one of 2 folds")
            continue
        assert_same_trials(found[str(name)]["trials"], expected)
        trained += 1
    assert trained > 20


@pytest.mark.parametrize("validation", [None, {"fraction": 0.3, "seed": 2}])
@pytest.mark.parametrize("way", ["closed form", "full batch", "huber", "mae", "quantile"])
def test_weighted_stream_trains_as_in_memory(tmp_path: Path, way: str, validation: dict[str, Any] | None) -> None:
    keys = {"training": WAYS[way], "validation": validation, "weights": "w"}
    job = config(frame(), tmp_path, **keys)
    assert_same_trials(in_groups(job, tmp_path), trials_of(alone(job, tmp_path)))


@pytest.mark.parametrize("way", ["full batch", "huber in units of the target", "quantile", "adam"])
def test_verification_has_the_weights(tmp_path: Path, way: str) -> None:
    job = config(frame(), tmp_path, weights="w", training=WAYS[way] | {"epochs": 5, "dtype": "float32"})
    found = verify(read(job, tmp_path), alone(job, tmp_path), 1, make_recipe(job))
    assert found["max_prediction_difference"] < 1e-5


@pytest.mark.parametrize("validate", [False, True])
def test_score_of_a_champion_has_the_weights(tmp_path: Path, validate: bool) -> None:
    job = config(frame(), tmp_path, weights="w", validation={"fraction": 0.3, "seed": 2})
    dataset, trained = read(job, tmp_path), alone(job, tmp_path)
    expected = (trained.result.val_mse_mg if validate else trained.result.train_mse_mg)[0, 1].item()
    score = mean_loss(dataset, trained.result.weight_mgp[0, 1], SquaredError(), validate=validate)
    assert score == pytest.approx(expected, rel=1e-10)


def test_full_batch_is_the_closed_form(tmp_path: Path) -> None:
    way = WAYS["full batch"]
    closed = {name: value for name, value in way.items() if name != "engine"}
    loop = trials_of(alone(config(frame(), tmp_path, weights="w", training=way), tmp_path))
    answer = trials_of(alone(config(frame(), tmp_path, weights="w", training=closed), tmp_path))
    for ours, theirs in zip(loop, answer, strict=True):
        assert (ours["engine"], theirs["engine"]) == ("minibatch", "closed_form")
        assert ours["coefficients"] == pytest.approx(theirs["coefficients"], rel=1e-9)


@pytest.mark.parametrize("where", ["listed", "groups"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("-1", "t.csv:4: column 'w': '-1' is no weight: write a number, 0 (not there) or more"),
        ("", "t.csv:4: column 'w': '' is no weight"),
        ("inf", "t.csv:4: column 'w': 'inf' is no weight"),
    ],
)
def test_bad_weight_is_named(tmp_path: Path, where: str, value: str, reason: str) -> None:
    rows = frame().assign(key="k")
    rows["w"] = rows["w"].astype(int).astype(str)
    rows.loc[2, "w"] = value
    job = config(rows, tmp_path, weights="w", **({"group_by": "key"} if where == "groups" else {}))
    if where == "groups":
        [document] = documents_of(train_groups(job, tmp_path)).values()
        assert reason in document["reason"]
    else:
        with pytest.raises(DataError, match="is no weight") as caught:
            read(job, tmp_path)
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"weights": "a"}, "names 'a', which has another use here"),
        ({"weights": "y"}, "names 'y', which has another use here"),
        ({"weights": "key", "group_by": "key"}, "names 'key', which has another use here"),
        ({"weights_kind": "frequency"}, "has no effect without 'weights'"),
        (
            {"weights": "w", "training": {"loss": "huber", "bias": False}},
            "needs a bias with loss huber: set 'training.bias: true'",
        ),
    ],
)
def test_weights_that_can_not_be_are_refused(tmp_path: Path, keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(frame(), tmp_path, **keys)
    assert reason in str(caught.value)


def test_rows_are_other_rows_with_other_weights(tmp_path: Path) -> None:
    first = read(config(frame(), tmp_path, weights="w"), tmp_path)
    second = read(config(frame().assign(w=frame()["w"] * 2), tmp_path, weights="w"), tmp_path)
    plain = read(config(frame().dropna(subset=["y"]), tmp_path), tmp_path)
    assert len({first.fingerprint, second.fingerprint, plain.fingerprint}) == 3
    assert first.num_rows == plain.num_rows == (frame()["w"] > 0).sum()
    np.testing.assert_array_equal(first.x_nd.shape, plain.x_nd.shape)
