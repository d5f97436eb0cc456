"""Made-up regressions of any size, and the article's data.

Shapes: n rows · d columns · g grid points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jobs.engines.hyperparameters import Hyperparameters

ARTICLE = Path(__file__).parent.parent / "examples" / "data" / "plant_richness.tsv"
ARTICLE_RATES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.09, 0.1, 0.12)


@dataclass(frozen=True)
class Regression:
    """Rows and targets, float32."""

    x_nd: Tensor
    y_n: Tensor

    @property
    def size_bytes(self) -> int:
        return self.x_nd.nbytes + self.y_n.nbytes


def regression(num_rows: int, num_columns: int, seed: int = 0) -> Regression:
    """Return rows of standard normal columns, and a target with noise."""
    generator = torch.Generator().manual_seed(seed)
    x_nd = torch.randn(num_rows, num_columns, generator=generator)
    y_n = x_nd @ torch.randn(num_columns, generator=generator)
    return Regression(x_nd, y_n.add_(torch.randn(num_rows, generator=generator), alpha=0.1))


def article() -> Regression:
    """Return the article's islands: log10 of the area, and of the number of native plant species."""
    header = ARTICLE.read_text().splitlines()[0].split("\t")
    table = np.loadtxt(ARTICLE, delimiter="\t", skiprows=1, usecols=(header.index("area"), header.index("ntv_rich")))
    table_32 = torch.from_numpy(table).float()
    return Regression(table_32[:, :1].contiguous(), table_32[:, 1].contiguous())


def rates_grid(rates: Tensor) -> Hyperparameters:
    """Return a grid of learning rates and nothing else, for one dataset."""
    zeros_g = torch.zeros(len(rates), dtype=torch.float64)
    return Hyperparameters(rates.double()[None], zeros_g, zeros_g.bool(), zeros_g, zeros_g + 1, zeros_g + 0.5)


def spaced_rates(number: int) -> Tensor:
    """Return learning rates at which minibatches of the made-up regressions are stable, log-spaced."""
    return torch.logspace(-4, -2, number, dtype=torch.float64)
