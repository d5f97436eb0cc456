"""The scaling of columns and target while training: weights, losses and hyperparameters in its units, and back.

Shapes: m datasets · n rows · d encoded columns · g grid points · p weights (the d columns, and the bias last if there
is one).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jobs.engines.hyperparameters import HYPERPARAMETERS, Hyperparameters
from jobs.engines.losses import LOSSES
from jobs.engines.moments import CONSTANT, Moments
from jobs.engines.settings import TrainingSettings


@dataclass(frozen=True)
class Scaling:
    """The units of training: x' = (x - offset) / scale, and so for the target; without a bias the offsets are 0."""

    offset_md: Tensor
    scale_md: Tensor
    y_offset_m: Tensor
    y_scale_m: Tensor

    def take(self, index_m: Tensor) -> Scaling:
        """Return the scaling of the datasets at `index_m`."""
        return Scaling(
            self.offset_md[index_m], self.scale_md[index_m], self.y_offset_m[index_m], self.y_scale_m[index_m]
        )

    def apply(self, moments: Moments) -> Moments:
        """Return the moments of scaled rows."""
        y_scale_m1 = self.y_scale_m[:, None]
        return Moments(
            num_rows_m=moments.num_rows_m,
            mean_md=(moments.mean_md - self.offset_md) / self.scale_md,
            scatter_mdd=moments.scatter_mdd / self.scale_md[:, :, None] / self.scale_md[:, None, :],
            y_mean_m=(moments.y_mean_m - self.y_offset_m) / self.y_scale_m,
            cross_md=moments.cross_md / self.scale_md / y_scale_m1,
            y_scatter_m=moments.y_scatter_m / self.y_scale_m.square(),
            count_m=moments.count_m,
        )

    def columns(self, x_nd: Tensor, dataset_n: Tensor | int = 0) -> Tensor:
        """Return the columns of rows, scaled; `dataset_n` is the dataset of each."""
        return (x_nd - self.offset_md[dataset_n]) / self.scale_md[dataset_n]

    def target(self, y_n: Tensor, dataset_n: Tensor | int = 0) -> Tensor:
        """Return the target of rows, scaled."""
        return (y_n - self.y_offset_m[dataset_n]) / self.y_scale_m[dataset_n]

    def hyperparameters(self, hyperparameters: Hyperparameters) -> Hyperparameters:
        """Return those of one dataset with what is in units of the target in the units of training."""
        return _divided(hyperparameters, self.y_scale_m)

    def hyperparameters_of_each(self, hyperparameters: Hyperparameters) -> Hyperparameters:
        """Return the same for each of m datasets: what is in units of the target is then of shape (m, 1, g)."""
        return _divided(hyperparameters, self.y_scale_m[:, None, None])

    def losses(self, value: Tensor, loss: str) -> Tensor:
        """Return losses (m, …) in units of the target from losses of scaled rows."""
        shape = (len(self.y_scale_m), *[1] * (value.ndim - 1))
        return value * self.y_scale_m.pow(LOSSES[loss].degree).reshape(shape)

    def fold_back(self, weight_map: Tensor, bias: bool) -> Tensor:
        """Return weights in raw units from weights (m, …, p) of scaled rows."""
        m, d = self.scale_md.shape
        axes = [1] * (weight_map.ndim - 2)
        y_scale = self.y_scale_m.reshape(m, *axes, 1)
        slope = weight_map[..., :d] * y_scale / self.scale_md.reshape(m, *axes, d)
        if not bias:
            return slope
        at_mean = (slope * self.offset_md.reshape(m, *axes, d)).sum(-1, keepdim=True)
        intercept = weight_map[..., d:] * y_scale + self.y_offset_m.reshape(m, *axes, 1) - at_mean
        return torch.cat([slope, intercept], dim=-1)


def feature_scaling(moments: Moments, bias: bool) -> Scaling:
    """Return the scaling that gives each feature mean 0 and variance 1; without a bias, mean square 1.

    A column that is constant up to rounding keeps its unit.
    """
    n_m1 = moments.num_rows_m[:, None]
    variance_md = moments.scatter_mdd.diagonal(dim1=1, dim2=2) / n_m1
    offset_md, scale_md = _offset_and_scale(variance_md, moments.mean_md, bias)
    return Scaling(offset_md, scale_md, torch.zeros_like(moments.y_mean_m), torch.ones_like(moments.y_mean_m))


def scaling_of(moments: Moments, settings: TrainingSettings) -> Scaling | None:
    """Return the scaling of training, from the moments of the rows that train; None for raw units."""
    if not settings.normalize:
        return None
    scaling = feature_scaling(moments, settings.bias)
    if settings.normalize == "features":
        return scaling
    variance_m = moments.y_scatter_m / moments.num_rows_m
    y_offset_m, y_scale_m = _offset_and_scale(variance_m, moments.y_mean_m, settings.bias)
    return replace(scaling, y_offset_m=y_offset_m, y_scale_m=y_scale_m)


def scaled(moments: Moments, settings: TrainingSettings) -> Moments:
    """Return the moments in the units of training."""
    scaling = scaling_of(moments, settings)
    return moments if scaling is None else scaling.apply(moments)


def _divided(hyperparameters: Hyperparameters, unit: Tensor) -> Hyperparameters:
    names = [f"{each.name}_g" for each in HYPERPARAMETERS if each.in_target_units]
    columns = {name: getattr(hyperparameters, name) for name in names}
    return replace(hyperparameters, **{name: column / unit.to(column.dtype) for name, column in columns.items()})


def _offset_and_scale(variance: Tensor, mean: Tensor, bias: bool) -> tuple[Tensor, Tensor]:
    square = variance if bias else variance + mean.square()
    varies = square > (CONSTANT * mean).square()
    return mean if bias else torch.zeros_like(mean), torch.where(varies, square.clamp(min=0.0).sqrt(), 1.0)
