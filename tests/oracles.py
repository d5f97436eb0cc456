"""What the engines are held to: the loop that a user would write, one learning rate at a time; and certified fits."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jobs.engines.hyperparameters import HYPERPARAMETERS, Hyperparameters

NIST = Path(__file__).parent / "data" / "nist"
EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class LoopRun:
    """A plain loop's weights after each of `epochs_e` (the bias last), their mean squared error, and its divergence."""

    weight_ep: Tensor
    mse_e: Tensor
    diverged_at: int


def plain_loop(
    x_nd: Tensor,
    y_n: Tensor,
    epochs_e: Sequence[int],
    learning_rate: float,
    *,
    bias: bool = True,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    **sgd: Any,
) -> LoopRun:
    """Return full-batch nn.Linear, MSELoss and SGD; it stops at the first loss that is not finite."""
    torch.manual_seed(seed)
    model = nn.Linear(x_nd.shape[1], 1, bias=bias).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, **sgd)
    x_nd, y_n1 = x_nd.to(dtype), y_n.to(dtype)[:, None]
    loss_function = nn.MSELoss()
    weights, errors = [], []
    for epoch in range(1, epochs_e[-1] + 1):
        optimizer.zero_grad()
        loss = loss_function(model(x_nd), y_n1)
        if not math.isfinite(loss.item()):  # quicker than torch.isfinite
            return LoopRun(torch.stack(weights) if weights else torch.empty(0), torch.tensor(errors), epoch)
        loss.backward()
        optimizer.step()
        if epoch in epochs_e:
            weights.append(flat(model))
            errors.append(loss_function(model(x_nd), y_n1).item())
    return LoopRun(torch.stack(weights), torch.tensor(errors, dtype=torch.float64), 0)


def flat(model: nn.Linear) -> Tensor:
    """Return the weights of a model of one output, the bias last, float64."""
    bias = [] if model.bias is None else [model.bias.detach()]
    return torch.cat([model.weight.detach()[0], *bias]).double()


def grid(learning_rates: Sequence[float], **columns: Any) -> Hyperparameters:
    """Return a grid of one dataset; a hyperparameter that is not given has its default."""
    others = {
        f"{each.name}_g": torch.as_tensor(columns.get(each.name, each.default), dtype=each.dtype)
        .expand(len(learning_rates))
        .clone()
        for each in HYPERPARAMETERS
    }
    return Hyperparameters(learning_rate_mg=torch.tensor([list(learning_rates)], dtype=torch.float64), **others)


def article(*features: str) -> tuple[Tensor, Tensor]:
    """Return the features of the article's 22 islands, and the target."""
    with (EXAMPLES / "data" / "plant_richness.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    columns = torch.tensor(
        [[float(row[name]) for row in rows] for name in (*features, "ntv_rich")], dtype=torch.float64
    )
    return columns[:-1].T.contiguous(), columns[-1]


@dataclass(frozen=True)
class Certified:
    """A data set of NIST's Statistical Reference Datasets, its certified coefficients in the order of the columns."""

    x_nd: Tensor
    y_n: Tensor
    coefficient_p: Tensor


def certified(name: str) -> Certified:
    """Return a data set of certified.json; the intercept is the last coefficient, as the engines have it."""
    entry = json.loads((NIST / "certified.json").read_text())[name]
    with (NIST / entry["file"]).open() as file:
        rows = list(csv.DictReader(file))

    def column(key: str) -> Tensor:
        return torch.tensor([float(row[key]) for row in rows], dtype=torch.float64)

    if "degree" in entry:
        columns = [column(entry["feature"]) ** power for power in range(1, entry["degree"] + 1)]
    else:
        columns = [column(key) for key in entry["features"]]
    intercept, *slopes = entry["coefficients"].values()
    return Certified(
        torch.stack(columns, dim=1), column(entry["target"]), torch.tensor([*slopes, intercept], dtype=torch.float64)
    )


def digits_of(weight_p: Tensor, certified_p: Tensor) -> float:
    """Return the digits that agree, of the weight where they are fewest: the log relative error, 15 at most."""
    return -((weight_p - certified_p) / certified_p).abs().clamp(min=1e-15).log10().amax().item()


def exact_least_squares(x_nd: Tensor, y_n: Tensor, *, bias: bool = True) -> Tensor:
    """Return the predictions (n,) of least squares, in fractions: nothing is rounded before the last step.

    A column that depends on those before it is left out.
    """
    ones = [[Fraction(1)]] * len(y_n) if bias else [[]] * len(y_n)
    rows = [[*one, *map(Fraction, row)] for one, row in zip(ones, x_nd.tolist(), strict=True)]
    target = [Fraction(value) for value in y_n.tolist()]
    basis: list[list[Fraction]] = []
    predicted = [Fraction(0)] * len(rows)
    for column in zip(*rows, strict=True):
        left = list(column)
        for other in basis:
            share = dot(left, other) / dot(other, other)
            left = [value - share * away for value, away in zip(left, other, strict=True)]
        if any(left):
            basis.append(left)
            share = dot(target, left) / dot(left, left)
            predicted = [value + share * step for value, step in zip(predicted, left, strict=True)]
    return torch.tensor([float(value) for value in predicted], dtype=torch.float64)


def dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    """Return the inner product."""
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))
