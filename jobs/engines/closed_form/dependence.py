"""Columns that depend on others: which, how many weights the data determine, and along which directions they do not.

Descent leaves weights where they started along such a direction: its predictions for rows like those that train do not
change along it. A constant column depends on the bias.

Shapes: m datasets · d encoded columns · p weights (the d columns, and the bias last if there is one), or
as many directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handler.models.dependence import dependences_of
from jobs.engines.closed_form.least_squares import NormalEquations, digits_of, normal_equations, solve
from jobs.engines.closed_form.spectrum import hessian
from jobs.engines.moments import Moments
from jobs.engines.scaling import feature_scaling

SUSPECT = 1e-6  # of a column's variance, left by those before it: below, the eigenvalues are looked at
FEW_DIGITS = 6.0  # of a weight: fewer are said
ZERO = 1e-9  # of the largest slope in scaled units: a smaller one may be 0
MAX_SENTENCES = 10


@dataclass(frozen=True)
class Undetermined:
    """What the data of m datasets do not determine.

    `rank_m` is the number of weights that they do. `direction_mpp` is U Uᵀ of the directions U in which weights, in raw
    units, may move, so scaled that xᵀ U is near 1 for a row x that breaks a dependence, 0 for one that keeps it.
    """

    equations: NormalEquations
    rank_m: Tensor
    direction_mpp: Tensor


def suspects(moments: Moments, bias: bool) -> Tensor:
    """Return the places of the datasets whose columns may be dependent, (m,) int64: by a factor, which is fast."""
    scaled = feature_scaling(moments, bias).apply(moments)
    factor_mpp, failed_m = torch.linalg.cholesky_ex(hessian(scaled, bias) / 2)
    return suspects_by(factor_mpp, failed_m)


def suspects_by(factor_mpp: Tensor, failed_m: Tensor) -> Tensor:
    """Return the same by a factor of the mean of [X 1]ᵀ[X 1] in scaled units; `failed_m` is not 0 without one."""
    left_m = factor_mpp.diagonal(dim1=1, dim2=2).square().amin(1)
    return ((failed_m != 0) | ~(left_m > SUSPECT)).nonzero()[:, 0]


def undetermined(moments: Moments, bias: bool) -> Undetermined:
    """Return what the data of each dataset do not determine."""
    equations = normal_equations(moments, bias)
    free_md = (equations.eigenvalue_md == 0).double()
    free_mdd = (equations.eigenvector_mdd * free_md[:, None, :]) @ equations.eigenvector_mdd.mT
    direction_mpp = torch.nn.functional.pad(free_mdd, (0, int(bias), 0, int(bias)))
    map_mpp = raw_map(*_units(equations), bias)
    rank_m = moments.num_columns + bias - free_md.sum(1)
    return Undetermined(equations, rank_m, map_mpp @ direction_mpp @ map_mpp.mT)


def raw_map(offset_md: Tensor, scale_md: Tensor, bias: bool) -> Tensor:
    """Return the matrix T of which T times the weights of (x - offset) / scale are those in raw units, (m, p, p)."""
    slopes_mdd = torch.diag_embed(1 / scale_md)
    if not bias:
        return slopes_mdd
    map_mpp = torch.nn.functional.pad(slopes_mdd, (0, 1, 0, 1))
    map_mpp[:, -1, :-1] = -offset_md / scale_md
    map_mpp[:, -1, -1] = 1.0
    return map_mpp


def _units(equations: NormalEquations) -> tuple[Tensor, Tensor]:
    """Return the offset and the scale of the columns in the equations; a constant column is scaled by its size."""
    mean_md, scale_md = equations.moments.mean_md, equations.scale_md
    size_md = torch.where(mean_md != 0, mean_md.abs(), 1.0)
    return mean_md, torch.where(scale_md > 0, scale_md, size_md)


def dependences(moments: Moments, bias: bool, names: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Return, for each dataset with dependent columns, a sentence for each of them; by the place of the dataset.

    Another sentence says how many digits can be trusted where columns nearly depend on others.
    """
    index_m = suspects(moments, bias)
    if not len(index_m):
        return {}
    equations = normal_equations(moments.take(index_m), bias)
    found_m = (equations.eigenvalue_md == 0).any(1)
    digits_m = _fewest_digits(equations)
    said = {}
    for at, place in enumerate(index_m.tolist()):
        alone = equations.take(torch.tensor([at]))
        sentences = _first_of(list(_sentences(alone, names))) if found_m[at] else ()
        if digits_m[at] < FEW_DIGITS:
            about = "no digit" if digits_m[at] < 1 else f"about {int(digits_m[at])} digits"
            sentences = (*sentences, f"columns nearly depend on others: {about} of their weights can be trusted")
        if sentences:
            said[place] = sentences
    return said


def _fewest_digits(equations: NormalEquations) -> Tensor:
    """Return the digits of the slope that has the fewest, (m,); those that are 0 but for rounding do not count."""
    slope_md = solve(equations)
    digits_md = digits_of(equations, slope_md)[:, : equations.moments.num_columns]
    size_md = (slope_md * equations.scale_md).abs()
    counts_md = (size_md > ZERO * size_md.amax(1, keepdim=True)) & ~digits_md.isnan()
    return torch.where(counts_md, digits_md, torch.inf).amin(1)


def _first_of(sentences: Sequence[str]) -> tuple[str, ...]:
    more = len(sentences) - MAX_SENTENCES
    return (*sentences[:MAX_SENTENCES], *([f"{more} more columns depend on others"] if more > 0 else []))


def _sentences(equations: NormalEquations, names: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each dependent column of one dataset (m = 1), in their order."""
    direction_pd = equations.eigenvector_mdd[0].T[equations.eigenvalue_md[0] == 0]
    mean_d, scale_d = (unit_md[0].numpy() for unit_md in _units(equations))
    for each in dependences_of(direction_pd.numpy(), scale_d, mean_d if equations.bias else None):
        whose = "their weights" if each.factor_d.any() else "its weight"
        said = f"column {each.sentence(names)} in every row that trains"
        yield f"{said}: only weight decay makes {whose} unique"
