"""The best trial of a dataset, as a model that is offered to the ledger.

Shapes: m = 1 dataset · d encoded columns · p weights (d, and the bias last where there is one).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from handler.stack import Stack, Statistics
from jobs.champions.selection import best_trial
from jobs.engines.closed_form.inference_statistics import inverse_cross_product, residual_variance
from jobs.recipe import Policy
from jobs.sources.dataset import Dataset
from jobs.training.datasets import TrainedDataset


@dataclass(frozen=True)
class Challenger:
    """The best trial of a dataset, as a model to be offered; with the dataset, a champion can be scored on its rows."""

    trained: TrainedDataset
    point: int
    policy: Policy
    score: float
    dataset: Dataset | None = None

    @property
    def stack(self) -> Stack:
        """The model and what serving knows of it, as a stack of one."""
        return self.stack_with(statistics=True)

    def stack_with(self, *, statistics: bool) -> Stack:
        """Return the stack; without inference statistics its cross-product and residual variance are left out."""
        trained, card = self.trained, self.trained.card
        weight_mp = trained.result.weight_mgp[:, self.point]
        d = len(card.columns)
        known = Statistics(
            fill_mk=torch.from_numpy(trained.fill_k.copy())[None],
            feature_min_mk=torch.from_numpy(trained.feature_min_k.copy())[None],
            feature_max_mk=torch.from_numpy(trained.feature_max_k.copy())[None],
            column_mean_md=trained.trained.mean_md,
            num_rows_m=trained.trained.num_rows_m,
        )
        if statistics:
            known = replace(
                known,
                inverse_cross_product_mpp=inverse_cross_product(trained.trained, card.bias),
                residual_variance_m=residual_variance(trained.trained, weight_mp, card.bias),
            )
        return Stack(card, weight_mp[:, :d], weight_mp[:, d] if card.bias else None, known)

    @property
    def hyperparameters(self) -> dict[str, float | bool]:
        return self.trained.hyperparameters.values(0, self.point)


def challenger_of(trained: TrainedDataset, policy: Policy, dataset: Dataset | None = None) -> Challenger | None:
    """Return the best trial of a dataset, or None where none has a finite score."""
    score_g = trained.result.metric(policy.metric)[0]
    point = best_trial(score_g, trained.hyperparameters.learning_rate_mg[0], policy.mode)
    return None if point is None else Challenger(trained, point, policy, score_g[point].item(), dataset)
