"""From the records of fits to the trials of their datasets.

Shapes: m datasets · g grid points · e evaluated epochs · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from jobs.engines.closed_form.convergence import rest_of_loop
from jobs.engines.closed_form.divergence import earlier
from jobs.engines.curves import no_worse_than_mean
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.minibatch.tracking import Tracker
from jobs.engines.moments import Moments, mse
from jobs.engines.scaling import Scaling
from jobs.engines.settings import TrainingSettings, evaluated_epochs
from jobs.engines.trials import BlockResult

Columns = TypeVar("Columns", "Fits", BlockResult)


@dataclass(frozen=True)
class Fold:
    """What a fit is trained on and scored by: the rows outside a fold, and those within (None: all rows, and none).

    `trained` and `scored` are the moments of these rows; `name` is the name of the fit in checkpoints.
    """

    name: str
    index: int | None
    trained: Moments
    scored: Moments | None

    def take(self, index_m: Tensor) -> Fold:
        """Return the datasets at `index_m`, in that order."""
        scored = self.scored.take(index_m) if self.scored else None
        return replace(self, trained=self.trained.take(index_m), scored=scored)


@dataclass(frozen=True)
class Pooled:
    """What cross-validation says: losses and squared errors pooled over the folds; the first divergence of any fold."""

    loss_mge: Tensor
    mse_mge: Tensor
    diverged_at_mg: Tensor


@dataclass(frozen=True)
class Fits:
    """The outcome of a fit of each trial: `weight_mgp` of the kept epoch in raw units, the last as it is trained."""

    weight_mgp: Tensor
    last_weight_mgp: Tensor
    kept_index_mg: Tensor
    diverged_at_mg: Tensor
    stopped_mg: Tensor
    train_curve_mge: Tensor
    val_curve_mge: Tensor
    val_mse_curve_mge: Tensor

    @classmethod
    def of(
        cls, record: Tracker, scaling: Scaling | None, hyperparameters: Hyperparameters, settings: TrainingSettings
    ) -> Fits:
        """Return the record of a fit by dataset, its losses in units of the target."""
        m, g = hyperparameters.learning_rate_mg.shape
        weight_mgp = record.weight_pg.T.reshape(m, g, -1)

        def raw(curve_ge: Tensor, loss: str) -> Tensor:
            curve_mge = curve_ge.view(m, g, -1)
            return scaling.losses(curve_mge, loss) if scaling else curve_mge

        return cls(
            weight_mgp=scaling.fold_back(weight_mgp, settings.bias) if scaling else weight_mgp,
            last_weight_mgp=record.last_weight_pg.T.reshape(m, g, -1),
            kept_index_mg=record.kept_index_g.view(m, g),
            diverged_at_mg=record.diverged_at_g.view(m, g),
            stopped_mg=record.stopped_g.view(m, g),
            train_curve_mge=raw(record.train_curve_ge, settings.loss),
            val_curve_mge=raw(record.val_curve_ge, settings.loss),
            val_mse_curve_mge=raw(record.val_mse_curve_ge, "mse"),
        )


def joined(results: Sequence[Columns], places: Sequence[Tensor]) -> Columns:
    """Return the datasets of all results as one, those of each result at its places."""
    order_m = torch.cat(list(places)).argsort()
    names = [field.name for field in fields(results[0]) if "_m" in field.name]
    columns: dict[str, Any] = {name: torch.cat([getattr(each, name) for each in results])[order_m] for name in names}
    return replace(results[0], **columns)


def block_result(
    fits: Fits,
    fold: Fold,
    pooled: Pooled | None,
    hyperparameters: Hyperparameters,
    settings: TrainingSettings,
    wall_s: float,
) -> BlockResult:
    """Return the trials that were fitted at last; with folds their score is pooled, as in scikit-learn's searches."""
    kept = fold.trained
    epochs_e = evaluated_epochs(settings.epochs, settings.num_evaluations)
    diverged_at_mg = earlier(fits.diverged_at_mg, pooled.diverged_at_mg) if pooled else fits.diverged_at_mg
    weight_mgp = fits.weight_mgp.masked_fill((diverged_at_mg > 0)[..., None], torch.nan)
    train_mse_mg = mse(kept, weight_mgp, settings.bias)
    at_mg1 = fits.kept_index_mg[..., None]
    val_curve_mge = pooled.loss_mge if pooled else fits.val_curve_mge
    if pooled:
        val_mse_mg = pooled.mse_mge.gather(2, at_mg1)[..., 0]
    elif fold.scored:
        val_mse_mg = mse(fold.scored, weight_mgp, settings.bias)
    else:
        val_mse_mg = torch.full_like(train_mse_mg, torch.nan)
    r2_mg = 1 - train_mse_mg / (kept.y_scatter_m / kept.num_rows_m)[:, None]
    judged_mgp = None if pooled or fold.scored else weight_mgp
    last_mgp, curve_mge = fits.last_weight_mgp, fits.train_curve_mge
    rest = rest_of_loop(last_mgp, judged_mgp, curve_mge, fits.stopped_mg, kept, hyperparameters, settings)
    return BlockResult(
        engine="minibatch",
        epochs_e=epochs_e,
        weight_mgp=weight_mgp,
        epoch_mg=epochs_e[fits.kept_index_mg],
        converged_mg=rest.converged_mg & no_worse_than_mean(r2_mg, settings.loss) & (diverged_at_mg == 0),
        gap_mg=rest.gap_mg,
        diverged_at_mg=diverged_at_mg,
        train_mse_mg=train_mse_mg,
        val_mse_mg=val_mse_mg,
        train_loss_mg=curve_mge.gather(2, at_mg1)[..., 0],
        val_loss_mg=val_curve_mge.gather(2, at_mg1)[..., 0],
        r2_mg=r2_mg,
        train_curve_mge=curve_mge,
        val_curve_mge=val_curve_mge,
        wall_s=wall_s,
    )
