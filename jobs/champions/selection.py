"""The best trial of a dataset, among those that may be promoted. Pure: values in, values out.

Shapes: m datasets · g grid points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.engines.curves import nearest_of_equals, no_worse_than_mean
from jobs.engines.settings import LossName
from jobs.recipe import Mode, Policy, Requirement
from jobs.training.datasets import TrainedDatasets


def promotable(converged_mg: Tensor, r2_mg: Tensor, loss: LossName, require: Requirement) -> Tensor:
    """Return which trials may be promoted, bool (m, g): those that meet the requirement.

    Only `finite` allows a model that predicts worse than the mean of the target.
    """
    if require == "finite":
        return torch.ones_like(converged_mg)
    fair_mg = no_worse_than_mean(r2_mg, loss)
    return fair_mg & converged_mg if require == "converged" else fair_mg


def best_trials(score_mg: Tensor, gap_mg: Tensor, learning_rate_mg: Tensor, mode: Mode) -> Tensor:
    """Return the position of the best finite score of each dataset, int64 (m,); -1 if no score is finite.

    Scores that differ by rounding alone tie. Ties go to the smaller gap, then to the smaller learning rate, then to the
    earlier grid point.
    """
    tied_mg = nearest_of_equals(score_mg if mode == "min" else -score_mg, gap_mg)
    rate_mg = torch.where(tied_mg, learning_rate_mg, torch.inf)
    return torch.where(tied_mg.any(1), rate_mg.argmin(1), -1)


def score_of(trained: TrainedDatasets, policy: Policy) -> Tensor:
    """Return the score of each trial that may be promoted, (m, g); NaN for the others.

    Weight decay raises the error of the training rows up to the limit: a trial that stopped on its way has no score of
    these rows where another with weight decay has converged.
    """
    result = trained.result
    allowed_mg = promotable(result.converged_mg, result.r2_mg, trained.settings.loss, policy.require)
    if not policy.metric.startswith("val_"):
        decays_g = trained.hyperparameters.weight_decay_g > 0
        arrived_m1 = (allowed_mg & result.converged_mg & decays_g).any(1, keepdim=True)
        allowed_mg = allowed_mg & ~(decays_g & ~result.converged_mg & arrived_m1)
    return result.metric(policy.metric).masked_fill(~allowed_mg, torch.nan)


def best_points(trained: TrainedDatasets, policy: Policy) -> Tensor:
    """Return the grid point of the best trial of each dataset, (m,); -1 if none with a finite score may be promoted."""
    rate_mg = trained.hyperparameters.learning_rate_mg
    return best_trials(score_of(trained, policy), trained.result.gap_mg, rate_mg, policy.mode)
