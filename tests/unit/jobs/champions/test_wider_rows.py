"""A champion that needs a column which the job does not read any more, though its file has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jobs.champions.batch import Batch
from jobs.champions.challengers import challengers_of
from jobs.champions.commit import commit_better
from jobs.champions.comparison import Comparison
from jobs.config import JobConfig
from jobs.recipe import make_recipe, policies_of
from jobs.sources.dataset import read_dataset
from jobs.sources.job_datasets import resolve_source
from jobs.training.datasets import train_dataset
from model_store import open_ledger
from model_store.objects.s3_settings import S3Settings

VALIDATIONS: dict[str, Any] = {"none": None, "fraction": {"fraction": 0.3}, "folds": {"folds": 3}}


def table(folder: Path, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": random.normal(size=60), "b": random.normal(size=60), "soil": np.resize(["x", "y"], 60)})
    frame["y"] = 2 * frame["a"] + frame["b"] + 3 * (frame["soil"] == "y") + 0.1 * random.normal(size=60)
    frame.to_csv(folder / "t.csv", index=False)
    return frame


def stood(folder: Path, features: list[Any], *, validation: Any = None, **training: Any) -> Comparison:
    """Return how the best model with these features stands against the champion, if it is offered."""
    job = JobConfig.model_validate(
        {
            "name": "c",
            "datasets": [
                {"name": "d", "source": "t.csv", "target": "y", "features": features, "validation": validation}
            ],
            "grid": {"learning_rate": [0.1]},
            "training": {"epochs": 2000, **training},
        }
    )
    source, recipe, policy = resolve_source(job.datasets[0], folder, S3Settings()), make_recipe(job), policies_of(job)
    in_batches = recipe.settings.batch_size is not None
    dataset = read_dataset(source, bias=recipe.settings.bias, in_canonical_order=in_batches)
    trained = train_dataset(dataset, recipe)
    best = challengers_of(trained, trained.trials(), policy["d"], inference_statistics=True)
    assert best is not None
    ledger = open_ledger(str(folder / "store"))
    _, ((comparison,),) = commit_better(
        ledger, "c", [Batch(best, policy["d"], dataset, source)], "run", "2026-01-01T00:00:00+00:00"
    )
    return comparison


FULL: list[Any] = ["a", "b", {"name": "soil", "kind": "categorical"}]


@pytest.mark.parametrize("training", [{}, {"batch_size": 16, "epochs": 60}, {"loss": "mae"}], ids=str)
@pytest.mark.parametrize("validation", VALIDATIONS)
def test_champion_with_more_features_is_scored_on_the_rows_of_the_file(
    tmp_path: Path, validation: str, training: dict[str, Any]
) -> None:
    frame = table(tmp_path)
    stood(tmp_path, FULL)
    champion = open_ledger(str(tmp_path / "store")).champion("c", "d")
    comparison = stood(tmp_path, ["a"], validation=VALIDATIONS[validation], **training)
    assert comparison.basis == "scored again"
    assert not comparison.promoted
    weights = champion.coefficients
    error_n = weights["intercept"] + frame["a"] * weights["a"] + frame["b"] * weights["b"] - frame["y"]
    error_n += (frame["soil"] == "y") * weights["soil=y"]
    if validation != "fraction":  # of all rows
        expected = error_n.abs().mean() if training.get("loss") == "mae" else (error_n**2).mean()
        assert comparison.champion_score == pytest.approx(expected)
    else:
        assert comparison.champion_score is not None
        assert comparison.champion_score < comparison.challenger_score / 5


def test_champion_of_a_column_that_the_file_lacks_is_replaced(tmp_path: Path) -> None:
    frame = table(tmp_path)
    stood(tmp_path, FULL)
    frame.drop(columns="b").to_csv(tmp_path / "t.csv", index=False)
    comparison = stood(tmp_path, ["a"])
    assert (comparison.basis, comparison.promoted) == ("not comparable", True)
    assert comparison.reason == "the champion needs 'b', which these rows lack: no score to compare with"


def test_champion_of_a_column_with_an_empty_cell_is_replaced(tmp_path: Path) -> None:
    frame = table(tmp_path)
    stood(tmp_path, FULL)
    frame.loc[3, "b"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert stood(tmp_path, ["a"]).basis == "not comparable"


def test_champion_that_reads_a_column_in_another_way_is_scored_again(tmp_path: Path) -> None:
    frame = table(tmp_path)
    frame["a"] = np.exp(frame["a"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    stood(tmp_path, [{"name": "a", "transform": "log10"}, "b"])
    assert stood(tmp_path, ["a", "b"], epochs=3).basis == "scored again"


def test_champion_without_the_terms_of_the_challenger_is_scored_again(tmp_path: Path) -> None:
    frame = table(tmp_path)
    frame["a"] = np.exp(frame["a"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    stood(tmp_path, [{"name": "a", "transform": "log10"}])
    assert stood(tmp_path, ["a", "b", "a:b"], epochs=3).basis == "scored again"


def test_champion_with_terms_is_scored_on_the_rows_of_the_file(tmp_path: Path) -> None:
    table(tmp_path)
    stood(tmp_path, ["a", "b", "a:b"])
    assert stood(tmp_path, ["a"], epochs=3).basis == "scored again"
