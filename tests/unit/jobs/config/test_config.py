"""What a valid configuration means."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs.config import GridConfig, JobConfig, TrainingConfig, grid_points, json_schema, load_config
from jobs.engines.hyperparameters import HYPERPARAMETERS

EXAMPLES = sorted((Path(__file__).parents[4] / "examples").glob("*.yaml"))

DATASET = {"name": "islands", "source": "islands.tsv", "target": "species", "features": ["area"]}


def job(**sections: Any) -> JobConfig:
    return JobConfig.model_validate(
        {"name": "plants", "datasets": [DATASET], "grid": {"learning_rate": [0.01]}, **sections}
    )


def rates(learning_rate: Any) -> list[float]:
    grid = GridConfig.model_validate({"learning_rate": learning_rate})
    return list(grid_points(grid, TrainingConfig()).learning_rate_mg[0].tolist())


def written(folder: Path, text: str) -> JobConfig:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


MINIMAL = "name: plants\ndatasets: [{{name: a, source: {source}, target: {target}, features: [x]}}]\n"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_config_examples_are_valid_and_the_schema_accepts_them(path: Path) -> None:
    load_config(path)
    jsonschema.Draft202012Validator(json_schema()).validate(yaml.safe_load(path.read_text()))


def test_config_schema_is_a_schema_and_describes_every_key() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    sections = [schema, *schema["$defs"].values()]
    described = ["description" in section for section in sections if section.get("type") == "object"]
    assert described == [True] * len(sections)
    keys = schema["$defs"]["TrainingConfig"]["properties"]
    assert {"epochs", "loss"} <= keys.keys()
    assert [name for name, key in keys.items() if "description" not in key] == []


@pytest.mark.parametrize(
    "wrong",
    [{"grid": {"learning_rate": "aut"}}, {"training": {"epoch": 1}}, {"training": {"batch_size": 0}}, {"name": "a b"}],
)
def test_config_schema_refuses_what_the_reader_refuses(wrong: dict[str, Any]) -> None:
    document = {"name": "plants", "datasets": [DATASET], "grid": {"learning_rate": [0.01]}, **wrong}
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(document)
    with pytest.raises(ValidationError):
        JobConfig.model_validate(document)


def test_config_of_the_article_has_eight_rates_and_one_beyond_the_limit() -> None:
    config = load_config(next(path for path in EXAMPLES if path.name == "plants.yaml"))
    rate_g = grid_points(config.grid, config.training).learning_rate_mg[0]
    assert len(rate_g) >= 8
    assert (rate_g > 0.12732).sum() == 1
    assert config.store is None


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "0.0001", ".0001", "1.0e-04"])
def test_config_reads_numbers_as_people_write_them(number: str, tmp_path: Path) -> None:
    text = MINIMAL.format(source="a.csv", target="y") + f"grid: {{learning_rate: [{number}]}}\n"
    assert written(tmp_path, text).grid.learning_rate == (1e-4,)


@pytest.mark.parametrize("number", ["1000000", "1_000_000", "1e6", "1.0e+6"])
def test_config_reads_whole_numbers_as_people_write_them(number: str, tmp_path: Path) -> None:
    text = MINIMAL.format(source="a.csv", target="y") + f"grid: {{learning_rate: auto}}\ntraining: {{epochs: {number}}}"
    assert written(tmp_path, text).training.epochs == 1_000_000


@pytest.mark.parametrize("word", ["no", "on", "y", "2020-01-01", "1:30", "0x10"])
def test_config_reads_words_that_older_yaml_takes_for_something_else(word: str, tmp_path: Path) -> None:
    text = MINIMAL.format(source="a.csv", target=word) + "grid: {learning_rate: auto}\n"
    assert written(tmp_path, text).datasets[0].target == word


def test_config_reads_a_byte_order_mark_anchors_and_merges(tmp_path: Path) -> None:
    text = (
        "\ufeffname: plants\ndatasets:\n  - &first {name: a, source: a.csv, target: y, features: [größe]}\n"
        "  - {<<: *first, name: b}\ngrid: {learning_rate: auto}\n"
    )
    first, second = written(tmp_path, text).datasets
    assert (second.name, second.features) == ("b", first.features)


def test_config_is_frozen() -> None:
    with pytest.raises(ValidationError):
        job().training.epochs = 3  # type: ignore[misc]


def test_config_short_forms_mean_the_long_ones() -> None:
    long = {**DATASET, "source": ["islands.tsv"], "features": [{"name": "area"}], "validation": None, "group_by": []}
    short = {**DATASET, "validation": "none"}
    assert job(datasets=[short]) == job(datasets=[long])
    assert job(datasets=[{**DATASET, "group_by": "site"}]).datasets[0].group_by == ("site",)
    assert job(training={"schedule": "constant", "early_stopping": "none"}) == job(training={})
    assert job(grid={"learning_rate": 0.01}) == job()


def test_config_resolved_is_the_same_for_equal_configurations_and_reads_back() -> None:
    config = job(training={"epochs": 1e3, "momentum": 0.9}, store={"uri": "s3://models/plants"})
    same = job(training={"momentum": 0.9, "epochs": 1000}, store={"uri": "s3://models/plants"})
    assert config.resolved() == same.resolved() != job().resolved()
    assert json.loads(config.resolved())["training"]["epochs"] == 1000


@pytest.mark.parametrize(
    ("validation", "select", "metric", "mode"),
    [
        ("none", {}, "train_mse", "min"),
        ({"fraction": 0.2}, {}, "val_mse", "min"),
        ({"folds": 5}, {"metric": "train_mse"}, "train_mse", "min"),
        ("none", {"metric": "r2"}, "r2", "max"),
    ],
)
def test_config_metric_goes_by_the_validation(validation: Any, select: dict[str, str], metric: str, mode: str) -> None:
    config = job(datasets=[{**DATASET, "validation": validation}], select=select)
    assert (config.metric_of(config.datasets[0]), config.mode) == (metric, mode)


@pytest.mark.parametrize("loss", ["huber", "mae", "quantile"])
@pytest.mark.parametrize(("validation", "metric"), [("none", "train_loss"), ({"folds": 5}, "val_loss")])
def test_config_metric_is_the_loss_that_is_trained(loss: str, validation: Any, metric: str) -> None:
    config = job(datasets=[{**DATASET, "validation": validation}], training={"loss": loss})
    assert config.metric_of(config.datasets[0]) == metric
    config = job(training={"loss": loss}, select={"metric": "train_mse"})
    assert config.metric_of(config.datasets[0]) == "train_mse"


@pytest.mark.parametrize(
    ("rate", "training", "select", "require"),
    [
        ("auto", {}, {}, "converged"),
        ("auto", {"epochs": 500}, {}, "no worse than the mean"),
        ([0.1], {}, {}, "no worse than the mean"),
        ([0.1], {}, {"require": "converged"}, "converged"),
        ("auto", {}, {"require": "finite"}, "finite"),
    ],
)
def test_config_requires_convergence_where_nothing_else_is_asked(
    rate: Any, training: dict[str, Any], select: dict[str, Any], require: str
) -> None:
    config = job(grid={"learning_rate": rate}, training=training, select=select)
    assert config.require == require


def test_grid_points_are_every_combination_in_order() -> None:
    grid = GridConfig.model_validate({"learning_rate": [0.1, 0.01], "momentum": [0.9, 0], "weight_decay": 0.5})
    points = grid_points(grid, TrainingConfig(seed=3))
    assert points.learning_rate_mg.tolist() == [[0.01, 0.01, 0.1, 0.1]]
    assert points.momentum_g.tolist() == [0.0, 0.9, 0.0, 0.9]
    assert points.weight_decay_g.tolist() == [0.5] * 4


def test_grid_points_take_from_training_what_the_grid_does_not_list() -> None:
    training = TrainingConfig(momentum=0.9, nesterov=True, weight_decay=0.1, loss="huber", huber_delta=2.0)
    grid = GridConfig.model_validate({"learning_rate": [0.1]})
    assert grid_points(grid, training).values(0, 0) == {
        "learning_rate": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.1,
        "huber_delta": 2.0,
        "quantile": 0.5,
    }


def test_grid_points_leave_automatic_rates_to_the_planner() -> None:
    assert math.isnan(rates("auto")[0])
    grid = GridConfig.model_validate({"learning_rate": "auto", "momentum": [0.9, 0.0]})
    assert grid_points(grid, TrainingConfig()).momentum_g.tolist() == [0.0, 0.9]


def test_grid_has_a_list_for_each_hyperparameter() -> None:
    named = {each.name for each in HYPERPARAMETERS}
    assert set(GridConfig.model_fields) == {"learning_rate", *named}
    assert {name: TrainingConfig.model_fields[name].default for name in named} == {
        each.name: each.default for each in HYPERPARAMETERS
    }


def test_grid_points_of_a_range_of_decades_are_round() -> None:
    assert rates({"log": [1e-4, 1e-1, 4]}) == [1e-4, 1e-3, 1e-2, 1e-1]


@given(low=st.floats(1e-8, 1.0), ratio=st.floats(1.01, 1e6), number=st.integers(2, 40))
def test_grid_points_of_a_range_rise_by_equal_ratios_between_its_ends(low: float, ratio: float, number: int) -> None:
    high = low * ratio
    found = rates({"log": [low, high, number]})
    assert (found[0], found[-1], len(found)) == (low, high, number)
    steps = [after / before for before, after in itertools.pairwise(found)]
    assert steps == pytest.approx([ratio ** (1 / (number - 1))] * (number - 1), rel=1e-9)
