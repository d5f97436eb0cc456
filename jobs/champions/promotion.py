"""What is said of a dataset without a trial to promote, and of a model that is promoted though it has not converged.

Each sentence ends with what to do: the advice of the certificate, where descent has one.

Shapes: m datasets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from jobs.champions.challengers import best_points
from jobs.engines.closed_form.certificate import Certificate
from jobs.engines.curves import ROUNDING
from jobs.engines.settings import TrainingSettings
from jobs.recipe import Policy
from jobs.training.datasets import TrainedDatasets

ALL_THE_SAME = "or 'select.require: finite', to promote it as it is"
REMEDY = re.compile(r"set (?:more )?'[^']*'|remove one of them|smaller rates")


def best_finite(trained: TrainedDatasets, policy: Policy) -> list[int]:
    """Return the grid point of the best trial of each dataset, whatever its state; -1 if no score is finite."""
    points: list[int] = best_points(trained, replace(policy, require="finite")).tolist()
    return points


def why_none(
    trained: TrainedDatasets, policy: Policy, place_m: Sequence[int], advice_m: Sequence[str | None]
) -> list[str]:
    """Return why the datasets at these places have no model to promote; the advice is that of their certificates."""
    points = best_finite(trained, policy)
    return [_why_none(trained, at, points[at], advice) for at, advice in zip(place_m, advice_m, strict=True)]


def _why_none(trained: TrainedDatasets, dataset: int, point: int, advice: str | None) -> str:
    if point < 0:
        return f"no trial converged to a finite loss: {advice or 'try smaller rates'}"
    r2 = trained.result.r2_mg[dataset, point].item()
    todo = f"{advice or _other_advice(trained.settings, r2)}; {ALL_THE_SAME}"
    if r2 < -ROUNDING and trained.settings.loss != "quantile":
        return f"the best trial predicts worse than the mean of the target (R² {r2:.6g}): {todo}"
    return f"no trial converged (the best has R² {r2:.6f}): {todo}"


def warning_of(trained: TrainedDatasets, dataset: int, point: int, advice: str | None) -> str | None:
    """Return what is to be said of the trial that was chosen, with the advice of its certificate; None: nothing."""
    result, settings = trained.result, trained.settings
    r2 = result.r2_mg[dataset, point].item()
    if r2 < -ROUNDING and settings.loss != "quantile":
        return f"it predicts worse than the mean of the target: {advice or _other_advice(settings, r2)}"
    if result.converged_mg[dataset, point]:
        return None
    if result.converged_mg[dataset].any():
        return "not converged, but others are: set 'select.require: converged' to choose among these"
    return f"not converged: {advice or _other_advice(settings, r2)}"


def advice_of(certificate: Certificate | None) -> str | None:
    """Return the advice of a certificate, with the number of epochs that would do, if one is known."""
    if certificate is None or certificate.advice is None:
        return None
    enough = [(each.epochs_needed, each.learning_rate) for each in certificate.verdicts if each.epochs_needed]
    if not enough:
        return certificate.advice
    epochs, rate = min(enough)
    return f"{certificate.advice}; {epochs} epochs would do at learning rate {rate:g}"


def remedies(sentences: Iterable[str]) -> dict[str, int]:
    """Return what the sentences say to do first, in a few words, with the number of them that do."""
    found = (REMEDY.search(sentence) for sentence in sentences)
    return dict(Counter(match[0] for match in found if match is not None))


def _other_advice(settings: TrainingSettings, r2: float) -> str:
    """Return the advice where no certificate has one."""
    if r2 < 0 and not settings.bias:
        return "the model has no intercept: set 'training.bias: true'"
    if not settings.normalize:
        return "set 'training.normalize: true'"
    return f"set more 'training.epochs' than {settings.epochs}, or other learning rates"
