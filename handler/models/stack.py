"""A stack: m models over the same features, as one weight matrix.

Shapes: m models · d encoded columns · k raw features · p weights of a model (d, and one more with a bias).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Generic, TypeVar

from torch import Tensor, nn

from ..rows.encoding import Floats
from ..rows.model_card import ModelCard

Array = TypeVar("Array")


@dataclass(frozen=True)
class StatisticsOf(Generic[Array]):
    """The data of each model that serving needs beside the weights, all float64.

    `fill_mk`, `feature_min_mk` and `feature_max_mk` are in raw units, NaN for a feature without one (categorical, or no
    fill rule). `inverse_cross_product_mpp` is the inverse of [X 1]ᵀ[X 1] over the training rows (the bias is last), and
    `residual_variance_m` the residual sum of squares over n - p; both are None if they were switched off.
    Where columns are dependent, the inverse is one on what the data determine. `degrees_of_freedom_m` are there if some
    are not n - p (None, or NaN for a model: they are). `undetermined_mpp` is U Uᵀ of the directions U in which weights
    may move; xᵀ U is 0 for a row x that keeps the dependences of the training rows. `weight_sum_m` is the sum of the
    weights of the training rows, there if they have weights.
    """

    fill_mk: Array
    feature_min_mk: Array
    feature_max_mk: Array
    column_mean_md: Array
    num_rows_m: Array
    inverse_cross_product_mpp: Array | None = None
    residual_variance_m: Array | None = None
    degrees_of_freedom_m: Array | None = None
    undetermined_mpp: Array | None = None
    weight_sum_m: Array | None = None

    def named(self) -> dict[str, Array]:
        """Return the statistics that are not None, by their names in files."""
        return {name: getattr(self, field) for name, field in STATISTICS.items() if getattr(self, field) is not None}

    @classmethod
    def of_named(cls, tensors: Mapping[str, Array]) -> StatisticsOf[Array]:
        """Return the statistics that `named` gave. Raises KeyError if a required one is missing."""
        names = [*REQUIRED, *(name for name in STATISTICS if name in tensors)]
        return cls(**{STATISTICS[name]: tensors[name] for name in names})


STATISTICS = {field.name.rpartition("_")[0]: field.name for field in fields(StatisticsOf)}  # by their names in files
REQUIRED = tuple(name for name, field in zip(STATISTICS, fields(StatisticsOf), strict=True) if field.default is MISSING)


@dataclass(frozen=True)
class StackOf(Generic[Array]):
    """m models that share a model card: `weight_md` and `bias_m`, float64; `bias_m` is None if the card has no bias."""

    card: ModelCard
    weight_md: Array
    bias_m: Array | None
    statistics: StatisticsOf[Array] | None = None

    def arrays(self: Stack) -> ServedStack:
        """Return the stack as arrays that share memory with its tensors: NumPy is faster than PyTorch for one row."""
        statistics = None
        if self.statistics is not None:
            named = {name: tensor.numpy() for name, tensor in self.statistics.named().items()}
            statistics = StatisticsOf.of_named(named)
        bias_m = None if self.bias_m is None else self.bias_m.numpy()
        return StackOf(self.card, self.weight_md.numpy(), bias_m, statistics)

    def linear(self: Stack, row: int) -> nn.Linear:
        """Return model `row` as an `nn.Linear` of shape (1, d) in PyTorch's default dtype."""
        weight_1d = self.weight_md[row : row + 1]
        linear = nn.Linear(weight_1d.shape[1], 1, bias=self.bias_m is not None)
        state = {"weight": weight_1d}
        if self.bias_m is not None:
            state["bias"] = self.bias_m[row : row + 1]
        linear.load_state_dict(state)
        return linear


Statistics = StatisticsOf[Tensor]
Stack = StackOf[Tensor]
ServedStack = StackOf[Floats]
