"""How the champions of a run stand beside those before it: the growth of errors, and whether training has converged.

An error is a score of which less is better: the metric itself, or 1 - R². A tiny share of the target's spread is added
to both errors of a quotient, so that noise of the last digits of a perfect fit is no growth.

Shapes: m datasets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from jobs.champions.batch import Batch
from jobs.champions.comparison import FIRST, Comparisons, Floats

TINY = 1e-9
SQUARED = ("train_mse", "val_mse")


@dataclass(frozen=True)
class Standing:
    """What a run found of its champions; None where no dataset has a champion of before to compare with.

    `worst_error_ratio` is the error of the champion after the run, on the rows of the run, divided by the error that
    the champion before it had when it was committed: the largest of all datasets. `drift` is the growth of the error of
    the champion before the run, from its commit to the rows of the run, as a share: also the largest.
    """

    num_champions: int = 0
    num_unconverged: int = 0
    worst_error_ratio: float | None = None
    drift: float | None = None


def standing_of(pairs: Iterable[tuple[Batch, Comparisons]]) -> Standing:
    """Return how the champions of all datasets stand, after the comparisons of a commit."""
    champions = unconverged = 0
    ratios, drifts = list[float](), list[float]()
    for batch, compared in pairs:
        champion_m = compared.promoted_m | (compared.basis_m != FIRST)  # of each dataset that has one after the commit
        champions += int(champion_m.sum())
        unconverged += int((champion_m & ~_converged(batch, compared)).sum())
        if compared.before is None:
            continue
        tiny_m, recorded_m = TINY * _spread(batch), _error(compared, compared.before.score_m)
        before_m, new_m = _error(compared, compared.champion_m), _error(compared, compared.challenger_m)
        after_m = np.where(compared.promoted_m, new_m, before_m)
        ratios += _finite((after_m + tiny_m) / (recorded_m + tiny_m))
        drifts += _finite((before_m + tiny_m) / (recorded_m + tiny_m) - 1)
    return Standing(champions, unconverged, max(ratios, default=None), max(drifts, default=None))


def _converged(batch: Batch, compared: Comparisons) -> np.ndarray:
    """Return whether the champion of each dataset after the commit has converged."""
    new_m = batch.challengers.column("status").cast("string").to_numpy(zero_copy_only=False) == "converged"
    return new_m if compared.before is None else np.where(compared.promoted_m, new_m, compared.before.converged_m)


def _error(compared: Comparisons, score_m: Floats) -> Floats:
    return 1 - score_m if compared.policy.mode == "max" else score_m


def _spread(batch: Batch) -> Floats:
    """Return the variance of the target of each dataset, or what is of the same unit as the metric."""
    challengers = batch.challengers
    if batch.policy.mode == "max":
        return np.ones(challengers.num_datasets)
    variance_m = (challengers.train_moments.y_scatter_m / challengers.train_moments.num_rows_m).numpy()
    squared = batch.policy.metric in SQUARED or challengers.trials["loss"][0].as_py() == "mse"
    spread_m: Floats = variance_m if squared else np.sqrt(variance_m)
    return spread_m


def _finite(value_m: Floats) -> list[float]:
    """Return the largest finite value, in a list; an empty one if there is none."""
    finite_m = value_m[np.isfinite(value_m)]
    return [float(finite_m.max())] if len(finite_m) else []
