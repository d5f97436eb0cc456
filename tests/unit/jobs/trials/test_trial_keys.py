"""The key of a trial covers what its result depends on, and nothing else."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from typing import Any

import pytest

from jobs.engines.optimizers import OPTIMIZERS
from jobs.trials.keys import dataset_key, trial_keys
from tests.oracles import grid
from tests.samples.datasets import dataset, recipe


def key_of(**settings: Any) -> bytes:
    return dataset_key("data", dataset().card, recipe(engine="minibatch", **settings))


@pytest.mark.parametrize(
    ("name", "value", "covered"),
    [
        ("eps", 1e-3, {"adam", "adamw", "rmsprop"}),
        ("betas", (0.5, 0.9), {"adam", "adamw"}),
        ("alpha", 0.5, {"rmsprop"}),
        ("seed", 7, {"sgd", "adam", "adamw", "rmsprop"}),
    ],
)
def test_dataset_key_covers_the_settings_that_the_optimizer_reads(name: str, value: Any, covered: set[str]) -> None:
    assert {each for each in OPTIMIZERS if key_of(optimizer=each, **{name: value}) != key_of(optimizer=each)} == covered


def test_trial_key_is_of_every_hyperparameter() -> None:
    """The bytes stay as they are: other ones would have every trial that is stored trained again."""
    points = grid([0.1], momentum=0.9, weight_decay=0.2, nesterov=True, huber_delta=2.0, quantile=0.3)
    way = recipe()
    (key,) = trial_keys(b"data", replace(way, hyperparameters=points))
    point = struct.pack("<5d?i", 0.1, 0.9, 0.2, 2.0, 0.3, True, -1)
    assert key == hashlib.sha256(b"data" + point).digest()
