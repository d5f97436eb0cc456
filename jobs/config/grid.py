"""The `grid` of a configuration, and its points: every combination of the hyperparameters that it lists.

Shapes: g grid points.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, create_model, model_validator

from jobs.config.training import TrainingConfig
from jobs.config.values import WHOLE, Positive, Section, items, refused
from jobs.engines.hyperparameters import HYPERPARAMETERS, Hyperparameters

T = TypeVar("T", bound=BaseModel)


MOST_RATES = 100_000


class LogRange(Section):
    """Learning rates at equal ratios: the lowest, the highest, and how many."""

    log: tuple[Positive, Positive, Annotated[int, Field(ge=2, le=MOST_RATES), WHOLE]]

    @model_validator(mode="after")
    def _rising(self) -> LogRange:
        if self.log[0] >= self.log[1]:
            raise refused("does not rise: write {log: [0.0001, 0.1, 12]}, the lowest, the highest, and how many")
        return self

    def rates(self) -> tuple[float, ...]:
        """Return the learning rates: both ends exactly, those between to 12 significant digits."""
        low, high, number = self.log
        ratio = math.log(high / low) / (number - 1)
        between = (float(f"{low * math.exp(ratio * step):.12g}") for step in range(1, number - 1))
        return (low, *between, high)


def _learning_rates(value: Any) -> Any:
    if isinstance(value, str) and value != "auto":
        raise refused("is neither numbers nor 'auto': write a list, such as [0.001, 0.01], a log range, or auto")
    return value if value == "auto" or isinstance(value, dict | LogRange) else items(value)


def _kind(value: Any) -> str:
    return "!auto" if value == "auto" else "!log" if isinstance(value, dict | LogRange) else "!rates"


LearningRates = Annotated[
    Annotated[tuple[Positive, ...], Field(min_length=1), Tag("!rates")]
    | Annotated[LogRange, Tag("!log")]
    | Annotated[Literal["auto"], Tag("!auto")],
    Discriminator(_kind),
    BeforeValidator(_learning_rates, json_schema_input_type=Positive | list[Positive] | LogRange | Literal["auto"]),
]


def _with_lists(model: type[T]) -> type[T]:
    """Add a field for each hyperparameter: what `training` takes, or a list of that."""
    lists: dict[str, Any] = {}
    for each in HYPERPARAMETERS:
        value = TrainingConfig.model_fields[each.name].rebuild_annotation()
        as_items = BeforeValidator(items, json_schema_input_type=value | list[value])  # type: ignore[valid-type]
        listed = Annotated[tuple[value, ...], Field(min_length=1), as_items]  # type: ignore[valid-type]
        lists[each.name] = (listed | None, Field(None, description=f"Values of `training.{each.name}` to try."))
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, __module__=__name__, **lists)


@_with_lists
class GridConfig(Section):
    """The hyperparameters that are tried: every combination of what is listed here is a grid point."""

    learning_rate: LearningRates
    """A list, `{log: [low, high, number]}`, or `auto`: rates around the stability limit of the data."""

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates as they were written; NaN for `auto`: the data have yet to give them."""
        if isinstance(self.learning_rate, LogRange):
            return self.learning_rate.rates()
        return (math.nan,) if self.learning_rate == "auto" else self.learning_rate

    @model_validator(mode="after")
    def _no_duplicates(self) -> GridConfig:
        for key, values in self:
            if not isinstance(values, tuple):
                continue
            for at, value in enumerate(values):
                if value in values[:at]:
                    raise refused("is listed twice: remove one", key=f"{key}.{at}")
        return self


def grid_points(grid: GridConfig, training: TrainingConfig) -> Hyperparameters:
    """Return every combination of what the grid lists, for one dataset; what it does not list is as `training` says.

    They are sorted by learning rate, then by the others in the order of `HYPERPARAMETERS`.
    """
    listed = (getattr(grid, each.name) or (getattr(training, each.name),) for each in HYPERPARAMETERS)
    rate_g, *columns = zip(*itertools.product(sorted(grid.rates), *map(sorted, listed)), strict=True)
    others = {
        f"{each.name}_g": torch.tensor(column, dtype=each.dtype)
        for each, column in zip(HYPERPARAMETERS, columns, strict=True)
    }
    return Hyperparameters(learning_rate_mg=torch.tensor([rate_g], dtype=torch.float64), **others)
