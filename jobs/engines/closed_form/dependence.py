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

from jobs.engines.closed_form.least_squares import FREE, NormalEquations, normal_equations, solve, trusted_digits
from jobs.engines.closed_form.spectrum import hessian
from jobs.engines.moments import Moments
from jobs.engines.scaling import feature_scaling

SUSPECT = 1e-6  # of a column's variance, left by those before it: below, the eigenvalues are looked at
FEW_DIGITS = 6.0  # of a weight: fewer are said
ZERO = 1e-9  # of the largest slope in scaled units: a smaller one may be 0
MAX_TERMS = 6  # of a sum that a sentence writes out
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
    moments, d = equations.moments, equations.moments.num_columns
    digits_md = trusted_digits(moments, equations.bias)[:, :d]
    size_md = (solve(equations) * equations.scale_md).abs()
    counts_md = (size_md > ZERO * size_md.amax(1, keepdim=True)) & ~digits_md.isnan()
    return torch.where(counts_md, digits_md, torch.inf).amin(1)


def _first_of(sentences: Sequence[str]) -> tuple[str, ...]:
    more = len(sentences) - MAX_SENTENCES
    return (*sentences[:MAX_SENTENCES], *([f"{more} more columns depend on others"] if more > 0 else []))


def _sentences(equations: NormalEquations, names: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each dependent column of one dataset (m = 1), in their order."""
    direction_pd = equations.eigenvector_mdd[0].T[equations.eigenvalue_md[0] == 0]
    mean_d, scale_d = (unit_md[0] for unit_md in _units(equations))
    for column, factor_d in sorted(_solved(direction_pd), key=lambda each: each[0]):
        raw_d = factor_d * scale_d[column] / scale_d
        constant = (mean_d[column] - (raw_d * mean_d).sum()).item() if equations.bias else 0.0
        if abs(constant) < FREE * scale_d[column].item():
            constant = 0.0
        terms = [(raw_d[at].item(), repr(names[at])) for at in factor_d.nonzero()[:, 0].tolist()]
        yield _sentence(repr(names[column]), terms, constant)


def _solved(direction_pd: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield dependent columns, each with the factors (d,) that make it of the others, in scaled units.

    The later of the columns in a dependence is solved for, as if they were added one after the other.
    """
    left_pd = direction_pd.clone()
    solved: list[int] = []
    row = 0
    for column in reversed(range(left_pd.shape[1])):
        if row == len(left_pd):
            break
        pivot = row + int(left_pd[row:, column].abs().argmax())
        if left_pd[pivot, column].abs() < FREE:
            continue
        left_pd[[row, pivot]] = left_pd[[pivot, row]]
        left_pd[row] = left_pd[row] / left_pd[row, column]
        others = torch.arange(len(left_pd)) != row
        left_pd[others] = left_pd[others] - left_pd[others, column, None] * left_pd[row]
        solved.append(column)
        row += 1
    for at, column in enumerate(solved):
        factor_d = -left_pd[at]
        factor_d[column] = 0.0
        yield column, torch.where(factor_d.abs() < FREE, 0.0, factor_d)


def _sentence(name: str, terms: Sequence[tuple[float, str]], constant: float) -> str:
    if not terms:
        return f"column {name} is {constant:.6g} in every row that trains: only weight decay makes its weight unique"
    if len(terms) > MAX_TERMS:
        some = ", ".join(other for _, other in terms[:MAX_TERMS])
        made = f"a sum of multiples of {len(terms)} others, such as {some}"
    else:
        made = "".join(_term(factor, other, first=at == 0) for at, (factor, other) in enumerate(terms))
        made += f" {'-' if constant < 0 else '+'} {abs(constant):.6g}" if constant else ""
    return f"column {name} is {made} in every row that trains: only weight decay makes their weights unique"


def _term(factor: float, other: str, *, first: bool) -> str:
    sign = ("-" if factor < 0 else "") if first else (" - " if factor < 0 else " + ")
    size = f"{abs(factor):.6g}"
    return f"{sign}{other}" if size == "1" else f"{sign}{size} × {other}"
