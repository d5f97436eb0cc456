"""What is said of a dataset without a trial to promote, and of a model that is promoted though it has not converged.

Each sentence ends with what to do: the advice of the certificate, where descent has one.

Shapes: m datasets · g grid points.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from jobs.champions.selection import best_points
from jobs.engines.closed_form.certificate import advise
from jobs.engines.closed_form.convergence import epochs_to_converge
from jobs.engines.curves import no_worse_than_mean
from jobs.engines.settings import TrainingSettings
from jobs.recipe import Policy
from jobs.training.datasets import TrainedDatasets

ALL_THE_SAME = "or 'select.require: finite', to promote it as it is"
MAX_FORECASTS = 200  # datasets for which the number of epochs is computed: it takes longer than training them
MORE_EPOCHS = "more epochs"  # the advice of a certificate ends with it where they are enough
REMEDY = re.compile(r"set (?:more )?'[^']*'|remove one of them|smaller rates")
OTHERS_ARE = "not converged, but others are: set 'select.require: converged' to choose among these"


def reasons_of(trained: TrainedDatasets, policy: Policy) -> dict[str, str]:
    """Return the datasets that have no trial to promote, each with the reason."""
    place_m = (best_points(trained, policy) < 0).nonzero()[:, 0]
    if not len(place_m):
        return {}
    point_m = best_points(trained, replace(policy, require="finite"))
    advice = _advice(trained, place_m)
    return {
        trained.name_m[m]: _reason(trained, m, int(point_m[m]), text)
        for m, text in zip(place_m.tolist(), advice, strict=True)
    }


def _reason(trained: TrainedDatasets, dataset: int, point: int, advice: str | None) -> str:
    if point < 0:
        return f"no trial converged to a finite loss: {advice or 'try smaller rates'}"
    r2, rate = trained.result.r2_mg[dataset, point].item(), trained.hyperparameters.learning_rate_mg[dataset, point]
    todo = f"{advice or _other_advice(trained.settings, r2)}; {ALL_THE_SAME}"
    if not no_worse_than_mean(trained.result.r2_mg[dataset, point], trained.settings.loss):
        return f"the best trial predicts worse than the mean of the target (R² {r2:.6g} at {rate:.6g}): {todo}"
    return f"no trial converged (the best has R² {r2:.6f} at {rate:.6g}): {todo}"


def warnings_of(trained: TrainedDatasets, found_m: Tensor, point_m: Tensor) -> list[str | None]:
    """Return what is to be said of the trials that were chosen for the datasets at `found_m`; None: nothing."""
    result, settings = trained.result, trained.settings
    converged_m = result.converged_mg[found_m, point_m]
    fair_m = no_worse_than_mean(result.r2_mg[found_m, point_m], settings.loss)
    bad_m = (~(converged_m & fair_m)).nonzero()[:, 0]
    warnings: list[str | None] = [None] * len(found_m)
    some_m = result.converged_mg[found_m].any(1)
    for at, advice in zip(bad_m.tolist(), _advice(trained, found_m[bad_m]), strict=True):
        r2 = result.r2_mg[found_m[at], point_m[at]].item()
        what = "not converged" if fair_m[at] else "it predicts worse than the mean of the target"
        todo = f"{what}: {advice or _other_advice(settings, r2)}"
        warnings[at] = OTHERS_ARE if some_m[at] and fair_m[at] else todo
    return warnings


def remedies(sentences: Iterable[str]) -> dict[str, int]:
    """Return what the sentences say to do first, in a few words, with the number of them that do."""
    found = (REMEDY.search(sentence) for sentence in sentences)
    return dict(Counter(match[0] for match in found if match is not None))


def _advice(trained: TrainedDatasets, place_m: Tensor) -> list[str | None]:
    """Return the advice of the certificates of the datasets at these places; of a few also how many more epochs."""
    if not len(place_m):
        return []
    moments, hyper = trained.train_moments.take(place_m), trained.hyperparameters.datasets(place_m)
    sentences = advise(moments, hyper, trained.settings)
    few_m = torch.tensor([at for at, text in enumerate(sentences) if text and text.endswith(MORE_EPOCHS)])
    if 0 < len(few_m) <= MAX_FORECASTS:
        needed_mg = epochs_to_converge(moments.take(few_m), hyper.datasets(few_m), trained.settings)
        least_m = torch.where(needed_mg > 0, needed_mg, torch.iinfo(torch.int64).max).amin(1)
        for at, reachable, epochs in zip(
            few_m.tolist(), (needed_mg > 0).any(1).tolist(), least_m.tolist(), strict=True
        ):
            sentences[at] = f"{sentences[at]}: {epochs}" if reachable else sentences[at]
    return sentences


def _other_advice(settings: TrainingSettings, r2: float) -> str:
    """Return the advice where no certificate has one."""
    if r2 < 0 and not settings.bias:
        return "the model has no intercept: set 'training.bias: true'"
    if not settings.normalize:
        return "set 'training.normalize: true'"
    if settings.automatic_epochs:
        return "set other learning rates, or remove features that nearly depend on others"
    return f"set more 'training.epochs' than {settings.epochs}, or other learning rates"
