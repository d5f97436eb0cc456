"""The key of a trial: a sha256 of everything that its result depends on, so that equal trials are computed once.

A dataset's key includes its data (names, rows, their order, and the rows that validate), its model card (features,
target, bias), the engine with its version, and the settings (epochs, seed, normalize, loss, …). A trial's key adds the
hyperparameters. For learning rates that are computed from the data, it has the number of the rate instead.
"""

from __future__ import annotations

import hashlib
import json
import struct
from functools import lru_cache

import torch

from handler.rows.model_card import ModelCard
from jobs.engines.closed_form.certificate import NUM_AUTOMATIC_RATES
from jobs.engines.hyperparameters import HYPERPARAMETERS
from jobs.engines.settings import TrainingSettings
from jobs.engines.trials import EngineName
from jobs.recipe import Recipe

KEY_BYTES = 32
# Increase when an engine gives other numbers for the same input: trials of older versions are not used any more.
ENGINE_VERSIONS: dict[EngineName, int] = {"closed_form": 3, "minibatch": 5}
# Of a trial: its learning rate, its other hyperparameters, flags last, and its place among automatic rates.
POINT = sorted(HYPERPARAMETERS, key=lambda each: each.dtype == torch.bool)
FORMAT = struct.Struct(f"<d{''.join('?' if each.dtype == torch.bool else 'd' for each in POINT)}i")


def dataset_key(fingerprint: str, card: ModelCard, recipe: Recipe) -> bytes:
    """Return the key of a dataset under a recipe; `fingerprint` is of the data and of the rows that validate."""
    parts = (
        fingerprint,
        card.to_json(),
        recipe.engine,
        str(ENGINE_VERSIONS[recipe.engine]),
        _settings(recipe.settings),
    )
    return hashlib.sha256("\n".join(parts).encode()).digest()


def trial_keys(dataset: bytes, recipe: Recipe) -> tuple[bytes, ...]:
    """Return the key of each trial of a dataset, in the order of its grid."""
    return tuple(hashlib.sha256(dataset + point).digest() for point in _points(recipe))


def block_name(keys: set[bytes]) -> str:
    """Return the name of the object with the trials of these keys; their order does not matter."""
    return hashlib.sha256(b"".join(sorted(keys))).hexdigest()


@lru_cache(maxsize=64)
def _settings(settings: TrainingSettings) -> str:
    return json.dumps(settings.relevant(), sort_keys=True)


def _points(recipe: Recipe) -> tuple[bytes, ...]:
    """Return the bytes of each grid point, in the order of `Hyperparameters.with_rates` if rates are automatic."""
    columns = recipe.hyperparameters.others()
    others = list(zip(*(columns[each.name].tolist() for each in POINT), strict=True))
    if recipe.automatic_rates:
        return tuple(FORMAT.pack(0.0, *values, place) for place in range(NUM_AUTOMATIC_RATES) for values in others)
    rates = recipe.hyperparameters.learning_rate_mg[0].tolist()
    return tuple(FORMAT.pack(rate, *values, -1) for rate, values in zip(rates, others, strict=True))
