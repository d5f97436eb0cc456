"""Full-batch gradient descent on squared error, as one quadratic for each dataset, evaluated at any epoch.

Shapes: m datasets · g grid points · e evaluated epochs · t trials (all datasets, all grid points) ·
p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jobs.engines.closed_form.response import response
from jobs.engines.closed_form.spectrum import Spectrum, gradient, spectrum
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments, Scaling, scaling_of
from jobs.engines.settings import TrainingSettings, initial_weights


@dataclass(frozen=True)
class Descent:
    """The quadratics of m datasets at their common start."""

    moments: Moments
    scaling: Scaling | None
    spectrum: Spectrum
    start_p: Tensor
    gradient_mp: Tensor  # in the eigenbasis; 0 in directions that the data do not determine
    hyperparameters: Hyperparameters
    bias: bool

    def take(self, index_m: Tensor, index_g: Tensor) -> Descent:
        """Return the datasets at `index_m` with the grid points at `index_g`."""
        hyper = self.hyperparameters.take(index_g)
        scaling = self.scaling
        return Descent(
            moments=self.moments.take(index_m),
            scaling=Scaling(scaling.offset_md[index_m], scaling.scale_md[index_m]) if scaling else None,
            spectrum=Spectrum(self.spectrum.eigenvalue_mp[index_m], self.spectrum.eigenvector_mpp[index_m]),
            start_p=self.start_p,
            gradient_mp=self.gradient_mp[index_m],
            hyperparameters=replace(hyper, learning_rate_mg=hyper.learning_rate_mg[index_m]),
            bias=self.bias,
        )

    def displacement(self, steps_mge: Tensor) -> Tensor:
        """Return the displacement from the start along each eigenvector, (m, g, e, p)."""
        m, g, _ = steps_mge.shape
        hyper = self.hyperparameters
        decay_g1 = hyper.weight_decay_g[:, None]
        curvature_mgp = self.spectrum.eigenvalue_mp[:, None, :] + decay_g1
        phi_tep = response(
            curvature_mgp.reshape(m * g, -1),
            hyper.learning_rate_mg.reshape(-1),
            hyper.momentum_g.expand(m, g).reshape(-1),
            hyper.nesterov_g.expand(m, g).reshape(-1),
            steps_mge.reshape(m * g, -1),
        )
        return phi_tep.neg_().reshape(m, g, *phi_tep.shape[1:]).mul_(self.decayed_gradient[:, :, None, :])

    @property
    def decayed_gradient(self) -> Tensor:
        """The gradient at the start with weight decay, in the eigenbasis, (m, g, p)."""
        start_mp = (self.spectrum.eigenvector_mpp.mT @ self.start_p[:, None])[..., 0]
        return self.gradient_mp[:, None, :] + self.hyperparameters.weight_decay_g[:, None] * start_mp[:, None, :]

    def weights(self, displacement_mgep: Tensor) -> Tensor:
        """Return the weights (m, g, e, p) at a displacement, in the units of training."""
        m, g, e, p = displacement_mgep.shape
        moved = torch.bmm(displacement_mgep.reshape(m, g * e, p), self.spectrum.eigenvector_mpp.mT)
        return moved.reshape(m, g, e, p).add_(self.start_p)

    def raw(self, weight_mgep: Tensor) -> Tensor:
        """Return weights in raw units."""
        return self.scaling.fold_back(weight_mgep, self.bias) if self.scaling else weight_mgep

    def gap(self, displacement_mgp: Tensor) -> Tensor:
        """Return the distance of the predictions from the limit, as a share of the target's variance, (m, g)."""
        curvature_mgp = self.spectrum.eigenvalue_mp[:, None, :] + self.hyperparameters.weight_decay_g[:, None]
        limit_mgp = torch.where(curvature_mgp > 0, -self.decayed_gradient / curvature_mgp.clamp(min=1e-300), 0.0)
        distance_mg = 0.5 * (self.spectrum.eigenvalue_mp[:, None, :] * (displacement_mgp - limit_mgp).square()).sum(-1)
        variance_m1 = (self.moments.y_scatter_m / self.moments.num_rows_m)[:, None]
        return distance_mg / variance_m1.clamp(min=1e-300)


def prepare(moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings) -> Descent:
    """Return the quadratics of the datasets at the initial weights of `nn.Linear`."""
    scaling = scaling_of(moments, settings.bias) if settings.normalize else None
    trained = scaling.apply(moments) if scaling else moments
    basis = spectrum(trained, settings.bias)
    start_p = initial_weights(moments.num_columns, settings.bias, settings.seed)
    gradient_mp = gradient(trained, start_p.expand(moments.num_datasets, -1), settings.bias)
    along_mp = torch.bmm(basis.eigenvector_mpp.mT, gradient_mp[:, :, None])[..., 0]
    determined_mp = torch.where(basis.eigenvalue_mp > 0, along_mp, 0.0)
    return Descent(moments, scaling, basis, start_p, determined_mp, hyperparameters, settings.bias)
