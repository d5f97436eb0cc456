"""Every wrong configuration gives one line: file, line, key, value, remedy."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from jobs.config import load_config, make_config
from jobs.errors import ConfigError

VALID = """\
name: plants
datasets:
  - name: islands
    source: islands.tsv
    target: species
    features: [area]
grid:
  learning_rate: [0.01, 0.1]
training:
  epochs: 10
select:
  promote: better
store:
  uri: models
"""


def refusal(folder: Path, text: str | bytes) -> str:
    path = folder / "job.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    return message.replace(str(path), "job.yaml")


EPOCHS = "epochs: 10"
RATES = "[0.01, 0.1]"
FEATURES = "features: [area]"

CASES = {
    "unknown key": ("epochs", "epoch", "job.yaml:10: training.epoch: the key is unknown: did you mean 'epochs'?"),
    "unknown section": ("select:", "selects:", "job.yaml:11: selects: the key is unknown: did you mean 'select'?"),
    "unknown key in a list": (
        "target:",
        "tarket:",
        "job.yaml:5: datasets[0].tarket: the key is unknown: did you mean 'target'?",
    ),
    "key of another section": (
        EPOCHS,
        "learning_rate: 0.1",
        "job.yaml:10: training.learning_rate: the key is unknown: it belongs in 'grid'",
    ),
    "key like no other": (
        "promote: better",
        "zzz: 1",
        "job.yaml:12: select.zzz: the key is unknown: remove it, or write one of metric, mode, promote,",
    ),
    "missing section": ("grid:\n  learning_rate: [0.01, 0.1]\n", "", "job.yaml:1: grid: the key is missing: add it"),
    "word for a number": (EPOCHS, "epochs: many", "job.yaml:10: training.epochs: 'many' is not a whole number"),
    "quoted number": (EPOCHS, "epochs: '10'", "training.epochs: '10' is not a whole number"),
    "truth for a number": (EPOCHS, "epochs: true", "training.epochs: True is not a whole number"),
    "part of an epoch": (EPOCHS, "epochs: 1.5", "training.epochs: 1.5 is not a whole number"),
    "no epoch": (EPOCHS, "epochs: 0", "training.epochs: 0 is below 1: write a number from 1"),
    "too many epochs": (EPOCHS, "epochs: 2e9", "training.epochs: 2000000000.0 is above 1e+09"),
    "number for a truth": (EPOCHS, "bias: 1", "training.bias: 1 is neither true nor false"),
    "yes for a truth": (EPOCHS, "bias: yes", "training.bias: 'yes' is neither true nor false"),
    "no way to scale": (
        EPOCHS,
        "normalize: yes",
        "training.normalize: 'yes' is none of auto, true, false and features",
    ),
    "number to scale": (EPOCHS, "normalize: 1", "training.normalize: 1 is none of auto, true, false and features"),
    "epochs of a loop": (
        EPOCHS,
        "epochs: auto\n  batch_size: 8",
        "training.epochs: 'auto' needs the closed form, which batch size 8 does not",
    ),
    "epochs of minibatch": (
        EPOCHS,
        "epochs: auto\n  engine: minibatch",
        "training.epochs: 'auto' needs the closed form, which engine minibatch does not",
    ),
    "epochs to verify": (
        EPOCHS,
        "epochs: auto\n  verify: true",
        "training.epochs: 'auto' may be a billion, which the plain loop",
    ),
    "not a number": (EPOCHS, "weight_decay: .nan", "training.weight_decay: nan is not a finite number"),
    "infinite": (EPOCHS, "weight_decay: .inf", "training.weight_decay: inf is not a finite number"),
    "unknown optimizer": (EPOCHS, "optimizer: lbfgs", "training.optimizer: 'lbfgs' is not one of its values: write"),
    "gpu perhaps": (EPOCHS, "use_gpu: 1", "training.use_gpu: 1 is none of auto, true and false: write one of them"),
    "batch of none": (EPOCHS, "batch_size: 0", "training.batch_size: 0 is neither 'full' nor a whole number"),
    "batch misspelt": (EPOCHS, "batch_size: ful", "training.batch_size: 'ful' is neither 'full' nor"),
    "momentum of one": (EPOCHS, "momentum: 1", "training.momentum: 1 is not below 1"),
    "negative seed": (EPOCHS, "seed: -1", "training.seed: -1 is below 0"),
    "section not a mapping": ("  epochs: 10", "  - 10", "job.yaml:9: training: [10] is not a mapping"),
    "two schedules": (
        EPOCHS,
        "schedule: {cosine: {}, inverse_time: {decay: 1}}",
        "training.schedule: {'cosine': {}, 'inverse_time': {'decay': 1}} holds several rules",
    ),
    "schedule without its key": (EPOCHS, "schedule: {step: {every: 3}}", "training.schedule.step.factor: the key is"),
    "nesterov alone": (EPOCHS, "nesterov: true", "job.yaml:10: training.nesterov: True needs a momentum above 0"),
    "nesterov at some points": (
        RATES,
        f"{RATES}\n  momentum: [0, 0.9]\n  nesterov: [true]",
        "job.yaml:10: grid.nesterov: [True] needs a momentum above 0",
    ),
    "betas for sgd": (EPOCHS, "betas: [0.9, 0.99]", "training.betas: [0.9, 0.99] has a meaning with 'optimizer: adam'"),
    "huber_delta for mse": (EPOCHS, "huber_delta: 2", "training.huber_delta: 2 has a meaning with 'loss: huber' only"),
    "grid quantile for mse": (RATES, f"{RATES}\n  quantile: [0.5]", "job.yaml:9: grid.quantile: [0.5] has a meaning"),
    "set twice": (
        f"{RATES}\ntraining:\n",
        f"{RATES}\n  weight_decay: [0, 0.1]\ntraining:\n  weight_decay: 0.1\n",
        "job.yaml:11: training.weight_decay: 0.1 is listed by 'grid' too: remove one of them",
    ),
    "no learning rate": (RATES, "[]", "job.yaml:8: grid.learning_rate: [] has 0 items: write 1 or more"),
    "learning rate of zero": (RATES, "[0.1, 0]", "job.yaml:8: grid.learning_rate[1]: 0 is not above 0"),
    "negative learning rate": (RATES, "-1", "job.yaml:8: grid.learning_rate: -1 is not above 0"),
    "infinite learning rate": (RATES, "[.inf]", "grid.learning_rate[0]: inf is not a finite number"),
    "learning rate twice": (RATES, "[0.1, 0.2, 0.1]", "grid.learning_rate[2]: 0.1 is listed twice: remove one"),
    "learning rate misspelt": (RATES, "aut", "grid.learning_rate: 'aut' is neither numbers nor 'auto'"),
    "range that falls": (RATES, "{log: [1, 0.1, 3]}", "grid.learning_rate: {'log': [1, 0.1, 3]} does not rise"),
    "range of one": (RATES, "{log: [0.1, 1, 1]}", "grid.learning_rate.log[2]: 1 is below 2"),
    "range of two": (RATES, "{log: [0.1, 1]}", "grid.learning_rate.log"),
    "range of a kind": (RATES, "{lin: [0.1, 1, 3]}", "job.yaml:8: grid.learning_rate.l"),
    "feature twice": (
        FEATURES,
        "features: [area, area]",
        "datasets[0].features[1]: 'area' names the feature 'area' tw",
    ),
    "target as feature": (FEATURES, "features: [species]", "'species' names the target 'species' as a feature"),
    "number as feature": (FEATURES, "features: [1]", "job.yaml:6: datasets[0].features[0]: 1 is not a mapping"),
    "no feature": (FEATURES, "features: []", "datasets[0].features: [] has 0 items"),
    "a feature, not a list": (FEATURES, "features: area", "datasets[0].features: 'area' is not a list"),
    "categorical with a mean": (
        FEATURES,
        "features: [{name: area, kind: categorical, missing: mean}]",
        "datasets[0].features[0].missing: 'mean' can't be applied to a categorical feature: write level, drop",
    ),
    "categorical with a transform": (
        FEATURES,
        "features: [{name: area, kind: categorical, transform: log10}]",
        "datasets[0].features[0].transform: 'log10' applies to numeric features only: remove it, or set",
    ),
    "numeric with unseen levels": (
        FEATURES,
        "features: [{name: area, unseen: reference}]",
        "datasets[0].features[0].unseen: 'reference' applies to categorical features only",
    ),
    "transform unknown": (
        FEATURES,
        "features: [{name: area, transform: ln}]",
        "datasets[0].features[0].transform: 'ln' is not one of its values: write 'log10', 'log1p', 'sqrt'",
    ),
    "group by a feature": (FEATURES, f"{FEATURES}\n    group_by: area", "datasets[0].group_by: 'area' names 'area', w"),
    "group by twice": (FEATURES, f"{FEATURES}\n    group_by: [a, a]", "datasets[0].group_by: ['a', 'a'] names 'a'"),
    "one fold": (FEATURES, f"{FEATURES}\n    validation: {{folds: 1}}", "datasets[0].validation.folds: 1 is below 2"),
    "the whole validates": (
        FEATURES,
        f"{FEATURES}\n    validation: {{fraction: 1.0}}",
        "job.yaml:7: datasets[0].validation.fraction: 1.0 is not below 1",
    ),
    "two validations": (
        FEATURES,
        f"{FEATURES}\n    validation: {{fraction: 0.2, folds: 5}}",
        "datasets[0].validation: {'fraction': 0.2, 'folds': 5} must hold either 'fraction' or 'folds'",
    ),
    "validation of a kind": (
        FEATURES,
        f"{FEATURES}\n    validation: some",
        "datasets[0].validation: 'some' is not a m",
    ),
    "delimiter of two": (FEATURES, f"{FEATURES}\n    delimiter: ';;'", "datasets[0].delimiter: ';;' is not a delimit"),
    "delimiter of parquet": (
        FEATURES,
        f"{FEATURES}\n    format: parquet\n    delimiter: ';'",
        "job.yaml:8: datasets[0].delimiter: ';' has no meaning for parquet: remove it",
    ),
    "no source": ("source: islands.tsv", "source: []", "datasets[0].source: [] has 0 items"),
    "source of a kind": ("islands.tsv", "gs://a/b", "datasets[0].source: 'gs://a/b' is of an unknown kind"),
    "metric without validation": (
        "promote: better",
        "metric: val_mse",
        "job.yaml:12: select.metric: 'val_mse' needs validation, and dataset 'islands' has none",
    ),
    "the worst wanted": ("promote: better", "mode: max", "select.mode: 'max' looks for the worst trial by an error"),
    "improvement below zero": ("promote: better", "min_improvement: -1", "select.min_improvement: -1 is below 0"),
    "name of spaces": (
        "name: plants",
        "name: my plants",
        "job.yaml:1: name: 'my plants' can't name a model of TorchSe",
    ),
    "name of a path": ("name: plants", "name: ../plants", "job.yaml:1: name: '../plants' can't name a model"),
    "number as name": ("name: plants", "name: 7", "job.yaml:1: name: 7 is not a string: put it in quotes"),
    "key twice": (EPOCHS, "epochs: 10\n  epochs: 20", "job.yaml:11: training.epochs: the key is given twice, first at"),
    "key of a list": (EPOCHS, "[a, b]: 10", "job.yaml:10: training: a key is a list or a mapping"),
    "tab": (EPOCHS, "\tepochs: 10", "job.yaml:10: the YAML is not valid at column"),
    "bracket": (RATES, "[0.1", "the YAML is not valid at column"),
    "two documents": (EPOCHS, "epochs: 10\n---\na: 1", "the YAML is not valid"),
    "a tag": (EPOCHS, "epochs: !!python/object:os.system 1", "the YAML is not valid"),
    "an endless alias": (EPOCHS, "epochs: &a [*a]", "nested without end"),
    "unknown alias": (EPOCHS, "epochs: *a", "the YAML is not valid"),
}


def test_config_valid_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(VALID)
    assert load_config(path).training.epochs == 10


@pytest.mark.parametrize("case", CASES)
def test_config_wrong_is_one_line(case: str, tmp_path: Path) -> None:
    old, new, expected = CASES[case]
    assert old in VALID
    assert expected in refusal(tmp_path, VALID.replace(old, new, 1))


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ("optimizer: adam\n  momentum: 0.9", "momentum"),
        ("optimizer: adamw\n  nesterov: true", "nesterov"),
        ("optimizer: rmsprop\n  nesterov: true", "nesterov"),
        ("optimizer: rmsprop\n  betas: [0.9, 0.99]", "betas"),
        ("optimizer: adam\n  alpha: 0.9", "alpha"),
        ("num_workers: 2\n  gpus_per_block: 0.5", "gpus_per_block"),
        ("use_gpu: true\n  gpus_per_block: 1.5", "gpus_per_block"),
        ("engine: closed_form\n  optimizer: adam", "optimizer"),
        ("engine: closed_form\n  optimizer: rmsprop", "optimizer"),
        ("engine: closed_form\n  loss: huber", "loss"),
        ("engine: closed_form\n  batch_size: 8", "batch_size"),
        ("engine: closed_form\n  early_stopping: {patience: 3}", "early_stopping"),
        ("engine: closed_form\n  schedule: {cosine: {}}", "schedule"),
    ],
)
def test_config_impossible_training_names_the_key_at_fault(keys: str, key: str, tmp_path: Path) -> None:
    assert f"job.yaml:11: training.{key}: " in refusal(tmp_path, VALID.replace(EPOCHS, keys))


def test_config_dataset_named_twice(tmp_path: Path) -> None:
    again = "  - {name: islands, source: b.csv, target: y, features: [x]}\ngrid:"
    message = refusal(tmp_path, VALID.replace("grid:", again))
    assert message == "job.yaml:7: datasets[1].name: 'islands' is the name of two datasets: rename one"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "job.yaml:1: the file is empty"),
        (b"# nothing\n", "job.yaml:1: the file is empty"),
        (b"- a\n- b\n", "job.yaml:1: the file holds a list"),
        (b"plants", "job.yaml:1: the file holds a single value"),
        (b"name: caf\xe9\n", "job.yaml: byte 9 (0xe9) is not UTF-8: save the file as UTF-8"),
        (b"name: a\0b\n", "the YAML is not valid"),
        (b"[" * 5000, "nested without end"),
    ],
)
def test_config_file_that_is_none(content: bytes, expected: str, tmp_path: Path) -> None:
    assert expected in refusal(tmp_path, content)


def test_config_file_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: the configuration can't be read: No such file or directory"):
        load_config(tmp_path / "none.yaml")


def test_config_folder_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("uri: models", "uri: s3://key:hushhush@models/plants"),
        ("source: islands.tsv", "source: s3://key:hushhush@bucket/a.csv"),
        ("uri: models", "uri: models\n  aws_secret_access_key: hushhush"),
    ],
)
def test_config_errors_hold_no_secret(old: str, new: str, tmp_path: Path) -> None:
    assert "hushhush" not in refusal(tmp_path, VALID.replace(old, new))


def test_config_uppermost_of_several_problems_is_told(tmp_path: Path) -> None:
    text = VALID.replace("promote: better", "promote: worse").replace(EPOCHS, "epochs: -1")
    assert refusal(tmp_path, text).startswith("job.yaml:10: training.epochs")


def test_config_unknown_key_is_told_before_what_it_explains(tmp_path: Path) -> None:
    text = VALID.replace("uri: models", "url: models").replace(EPOCHS, "epochs: -1")
    assert refusal(tmp_path, text) == "job.yaml:14: store.url: the key is unknown: did you mean 'uri'?"


@pytest.mark.parametrize("nest", ["[" * 100_000, "- " * 60_000, "{a: " * 40_000], ids=["list", "dashes", "mapping"])
def test_large_file_that_is_nested_without_end_is_one_line(tmp_path: Path, nest: str) -> None:
    (tmp_path / "job.yaml").write_text(f"name: {nest}")
    with pytest.raises(ConfigError, match=r"job\.yaml"):
        load_config(tmp_path / "job.yaml")


def test_large_file_is_read_by_the_same_rules(tmp_path: Path) -> None:
    datasets = "".join(f"- {{name: d{at}, source: no, target: on, features: [y, 2020-01-01]}}\n" for at in range(3000))
    text = f"name: many\ngrid: {{learning_rate: [1e-4, 0.1]}}\ndatasets:\n{datasets}"
    (tmp_path / "job.yaml").write_text(text)
    config = load_config(tmp_path / "job.yaml")
    assert len(config.datasets) == 3000
    assert config.datasets[9].features[1].name == "2020-01-01"
    assert config.grid.learning_rate == (0.0001, 0.1)
    (tmp_path / "job.yaml").write_text(f"{text}nonsense: 1\n")
    with pytest.raises(ConfigError, match=r"job\.yaml:3004: nonsense"):
        load_config(tmp_path / "job.yaml")


@pytest.mark.timeout(60)
def test_aliases_of_aliases_are_refused_before_memory_is_full(tmp_path: Path) -> None:
    letters = "abcdefghij"
    lines = [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in itertools.pairwise(letters)]
    path = tmp_path / "job.yaml"
    path.write_text("\n".join(["a: &a [x, x, x, x, x, x, x, x, x]", *lines]))
    with pytest.raises(ConfigError, match=r"job\.yaml: aliases repeat its values more than 200000 times: write them"):
        load_config(path)


def test_more_rates_than_a_grid_can_hold_are_refused() -> None:
    assert "is above 100000" in refusal_of_grid({"log": [1e-4, 1e-1, 1e9]})


def refusal_of_grid(learning_rate: Any) -> str:
    dataset = {"name": "d", "source": "d.csv", "target": "y", "features": ["a"]}
    with pytest.raises(ConfigError) as refused:
        make_config({"name": "t", "datasets": [dataset], "grid": {"learning_rate": learning_rate}})
    return str(refused.value)
