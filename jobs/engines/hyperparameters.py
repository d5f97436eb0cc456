"""The hyperparameters of each trial, as columns, so that a million datasets fit.

`HYPERPARAMETERS` is the one list of them: keys, tables, documents, grids and checks are derived from it.

Shapes: m datasets · g grid points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jobs.engines.settings import TrainingSettings


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter: `default` where a configuration is silent, and at `neutral` it changes nothing."""

    name: str
    default: float | bool
    neutral: float | bool | None = None
    in_target_units: bool = False

    @property
    def dtype(self) -> torch.dtype:
        return torch.bool if isinstance(self.default, bool) else torch.float64


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of each trial, float64 or bool: each grid point has its own value of each.

    `learning_rate_mg` may differ between datasets (an automatic grid does); the others are of shape (g,).
    Names and meaning are those of torch.optim.SGD, Adam and AdamW, and of torch.nn's losses.
    """

    learning_rate_mg: Tensor
    momentum_g: Tensor = field(metadata={"default": 0.0, "neutral": 0.0})
    weight_decay_g: Tensor = field(metadata={"default": 0.0, "neutral": 0.0})
    nesterov_g: Tensor = field(metadata={"default": False, "neutral": False})
    huber_delta_g: Tensor = field(metadata={"default": 1.0, "in_target_units": True})
    quantile_g: Tensor = field(metadata={"default": 0.5})

    @property
    def num_points(self) -> int:
        return self.learning_rate_mg.shape[1]

    def take(self, index_g: Tensor) -> Hyperparameters:
        """Return the grid points at `index_g`, in that order."""
        return Hyperparameters(**{name: column[..., index_g] for name, column in self.columns().items()})

    def to(self, device: torch.device, dtype: torch.dtype) -> Hyperparameters:
        """Return the same on a device, in the precision of training."""
        moved = {name: column.to(device) for name, column in self.columns().items()}
        return Hyperparameters(**{name: v if v.dtype == torch.bool else v.to(dtype) for name, v in moved.items()})

    def for_datasets(self, num_datasets: int) -> Hyperparameters:
        """Return the grid of one dataset for several."""
        return replace(self, learning_rate_mg=self.learning_rate_mg.expand(num_datasets, -1))

    def datasets(self, index_m: Tensor | slice) -> Hyperparameters:
        """Return the same grid for the datasets at `index_m`."""
        return replace(self, learning_rate_mg=self.learning_rate_mg[index_m])

    def with_rates(self, rate_mg: Tensor) -> Hyperparameters:
        """Return every combination of each dataset's rates with the other hyperparameters, rates rising."""
        num_rates, num_others = rate_mg.shape[1], self.num_points
        others = {f"{name}_g": column.repeat(num_rates) for name, column in self.others().items()}
        return Hyperparameters(learning_rate_mg=rate_mg.repeat_interleave(num_others, dim=1), **others)

    def columns(self) -> dict[str, Tensor]:
        """Return the columns by the names of their fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def others(self) -> dict[str, Tensor]:
        """Return the columns of all but the learning rate, by the names of the hyperparameters."""
        return {each.name: getattr(self, f"{each.name}_g") for each in HYPERPARAMETERS}

    def values(self, dataset: int, point: int) -> dict[str, float | bool]:
        """Return the hyperparameters of one trial by name, the learning rate first."""
        others = {name: column[point].item() for name, column in self.others().items()}
        return {"learning_rate": self.learning_rate_mg[dataset, point].item(), **others}


# All but the learning rate, in the order in which tables and documents show them.
HYPERPARAMETERS = tuple(
    Hyperparameter(each.name.removesuffix("_g"), **each.metadata) for each in fields(Hyperparameters) if each.metadata
)


def arguments(kind: Any) -> list[str]:
    """Return the names of the fields that an optimizer or a loss is made of: those without a default."""
    return [each.name for each in fields(kind) if each.default is MISSING]


def reads(kind: Any) -> list[str]:
    """Return the hyperparameters and the settings that an optimizer or a loss reads, by name."""
    return [name.removesuffix("_g") for name in arguments(kind)]


def shown(values: Mapping[str, float | bool], settings: TrainingSettings) -> dict[str, float | bool]:
    """Return what a document shows of a trial's hyperparameters: those that apply, and are not neutral."""
    hidden = {
        each.name for each in HYPERPARAMETERS if not settings.reads(each.name) or each.neutral == values[each.name]
    }
    return {name: value for name, value in values.items() if name not in hidden}
