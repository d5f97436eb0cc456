"""Full-batch gradient descent on squared error, as one quadratic for each dataset, evaluated at any epoch.

Shapes: m datasets · d encoded columns · g grid points · e evaluated epochs · t trials (all datasets, all grid points) ·
p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jobs.engines.closed_form.least_squares import (
    NormalEquations,
    normal_equations,
    solve,
    unresolved_variance,
    weights_of,
)
from jobs.engines.closed_form.response import response
from jobs.engines.closed_form.spectrum import Spectrum, gradient, spectrum
from jobs.engines.curves import converged_by_gap
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments
from jobs.engines.scaling import Scaling, scaling_of
from jobs.engines.settings import TrainingSettings, initial_weights

EASY = 1e-4  # of the largest eigenvalue: in directions above, the gradient has enough digits


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
    unresolved_m: Tensor  # the mean square of predictions in directions with eigenvalues below float64's resolution

    def take(self, index_m: Tensor, index_g: Tensor) -> Descent:
        """Return the datasets at `index_m` with the grid points at `index_g`."""
        hyper = self.hyperparameters.take(index_g)
        scaling = self.scaling
        return Descent(
            moments=self.moments.take(index_m),
            scaling=scaling.take(index_m) if scaling else None,
            spectrum=Spectrum(self.spectrum.eigenvalue_mp[index_m], self.spectrum.eigenvector_mpp[index_m]),
            start_p=self.start_p,
            gradient_mp=self.gradient_mp[index_m],
            hyperparameters=replace(hyper, learning_rate_mg=hyper.learning_rate_mg[index_m]),
            bias=self.bias,
            unresolved_m=self.unresolved_m[index_m],
        )

    def displacement(self, steps_mge: Tensor) -> Tensor:
        """Return the displacement from the start along each eigenvector, (m, g, e, p)."""
        m, g, _ = steps_mge.shape
        hyper = self.hyperparameters
        phi_tep = response(
            self.curvature_mgp.reshape(m * g, -1),
            hyper.learning_rate_mg.reshape(-1),
            hyper.momentum_g.expand(m, g).reshape(-1),
            hyper.nesterov_g.expand(m, g).reshape(-1),
            steps_mge.reshape(m * g, -1),
        )
        return phi_tep.neg_().reshape(m, g, *phi_tep.shape[1:]).mul_(self.decayed_gradient[:, :, None, :])

    @property
    def curvature_mgp(self) -> Tensor:
        """The eigenvalues with weight decay, (m, g, p)."""
        return self.spectrum.eigenvalue_mp[:, None, :] + self.hyperparameters.weight_decay_g[:, None]

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

    def raw_squares(self, square: Tensor) -> Tensor:
        """Return squared errors (m, …) in units of the target from those in the units of training."""
        return self.scaling.losses(square, "mse") if self.scaling else square

    @property
    def limit_mgp(self) -> Tensor:
        """The displacement at the limit of each trial, in the eigenbasis, (m, g, p)."""
        curvature_mgp = self.curvature_mgp
        return torch.where(curvature_mgp > 0, -self.decayed_gradient / curvature_mgp.clamp(min=1e-300), 0.0)

    @property
    def is_resolved_m(self) -> Tensor:
        """Whether float64 resolves all directions that matter to predictions, (m,) bool."""
        return converged_by_gap((self.unresolved_m / self.variance_m.clamp(min=1e-300)).sqrt())

    @property
    def variance_m(self) -> Tensor:
        """The variance of the target."""
        return self.moments.y_scatter_m / self.moments.num_rows_m

    def gap(self, displacement_mgp: Tensor) -> Tensor:
        """Return the root mean square distance of predictions from the limit, by the target's deviation, (m, g)."""
        away_mgp = displacement_mgp - self.limit_mgp
        square_mg = self.raw_squares(0.5 * (self.spectrum.eigenvalue_mp[:, None, :] * away_mgp.square()).sum(-1))
        return ((square_mg + self.unresolved_m[:, None]) / self.variance_m[:, None].clamp(min=1e-300)).sqrt()


def prepare(moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings) -> Descent:
    """Return the quadratics of the datasets at the initial weights of `nn.Linear`."""
    scaling = scaling_of(moments, settings)
    trained = scaling.apply(moments) if scaling else moments
    basis = spectrum(trained, settings.bias)
    start_p = initial_weights(moments.num_columns, settings.bias, settings.seed)
    gradient_mp = gradient(trained, start_p.expand(moments.num_datasets, -1), settings.bias)
    along_mp = torch.bmm(basis.eigenvector_mpp.mT, gradient_mp[:, :, None])[..., 0]
    determined_mp = torch.where(basis.eigenvalue_mp > 0, along_mp, 0.0)
    unresolved_m = torch.zeros_like(moments.num_rows_m)
    hard_m = (basis.eigenvalue_mp[:, 0] < EASY * basis.largest_m).nonzero()[:, 0]
    if len(hard_m):
        equations = normal_equations(moments.take(hard_m), settings.bias)
        slope_md = solve(equations)
        least_mp = _least_squares(equations, slope_md, scaling, hard_m)
        limit_mp1 = basis.eigenvector_mpp[hard_m].mT @ (least_mp - start_p)[:, :, None]
        determined_mp[hard_m] = -basis.eigenvalue_mp[hard_m] * limit_mp1[..., 0]
        unresolved_m[hard_m] = unresolved_variance(equations, slope_md)
    return Descent(moments, scaling, basis, start_p, determined_mp, hyperparameters, settings.bias, unresolved_m)


def _least_squares(equations: NormalEquations, slope_md: Tensor, scaling: Scaling | None, index_m: Tensor) -> Tensor:
    """Return the weights of least squares of the datasets at `index_m`, in the units of training, (m, p)."""
    if scaling is None:
        return weights_of(equations.moments, slope_md, equations.bias)
    scaling = scaling.take(index_m)
    scaled_md = slope_md * scaling.scale_md / scaling.y_scale_m[:, None]
    return weights_of(scaling.apply(equations.moments), scaled_md, equations.bias)
