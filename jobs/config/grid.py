"""The `grid` of a configuration, and its points: every combination of the hyperparameters that it lists."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from jobs.config.training import TrainingConfig
from jobs.config.values import SECTION, WHOLE, BelowOne, Flag, Fraction, NotNegative, Positive, items, refused


@dataclass(frozen=True, order=True)
class GridPoint:
    """One combination of hyperparameters. Points are ordered by learning rate, then by the others as they stand here.

    `learning_rate` is None where the grid says `auto`: planning puts in the rates that it derives from the data.
    """

    learning_rate: float | None
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    huber_delta: float = 1.0
    quantile: float = 0.5


class LogRange(BaseModel):
    """Learning rates at equal ratios: the lowest, the highest, and how many."""

    model_config = SECTION

    log: tuple[Positive, Positive, Annotated[int, Field(ge=2), WHOLE]]

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


class GridConfig(BaseModel):
    """The hyperparameters that are tried: every combination of what is listed here is a grid point."""

    model_config = SECTION

    learning_rate: LearningRates
    """A list, `{log: [low, high, number]}`, or `auto`: rates around the stability limit of the data."""
    momentum: (
        Annotated[
            tuple[BelowOne, ...],
            Field(min_length=1),
            BeforeValidator(items, json_schema_input_type=BelowOne | list[BelowOne]),
        ]
        | None
    ) = None
    """Values of `training.momentum` to try."""
    weight_decay: (
        Annotated[
            tuple[NotNegative, ...],
            Field(min_length=1),
            BeforeValidator(items, json_schema_input_type=NotNegative | list[NotNegative]),
        ]
        | None
    ) = None
    """Values of `training.weight_decay` to try."""
    nesterov: (
        Annotated[
            tuple[Flag, ...], Field(min_length=1), BeforeValidator(items, json_schema_input_type=Flag | list[Flag])
        ]
        | None
    ) = None
    """Values of `training.nesterov` to try."""
    huber_delta: (
        Annotated[
            tuple[Positive, ...],
            Field(min_length=1),
            BeforeValidator(items, json_schema_input_type=Positive | list[Positive]),
        ]
        | None
    ) = None
    """Values of `training.huber_delta` to try."""
    quantile: (
        Annotated[
            tuple[Fraction, ...],
            Field(min_length=1),
            BeforeValidator(items, json_schema_input_type=Fraction | list[Fraction]),
        ]
        | None
    ) = None
    """Values of `training.quantile` to try."""

    @property
    def rates(self) -> tuple[float | None, ...]:
        """The learning rates as they were written; (None,) for `auto`."""
        if isinstance(self.learning_rate, LogRange):
            return self.learning_rate.rates()
        return (None,) if self.learning_rate == "auto" else self.learning_rate

    @model_validator(mode="after")
    def _no_duplicates(self) -> GridConfig:
        for key in ("learning_rate", "momentum", "weight_decay", "nesterov", "huber_delta", "quantile"):
            values = getattr(self, key)
            if not isinstance(values, tuple):
                continue
            for at, value in enumerate(values):
                if value in values[:at]:
                    raise refused("is listed twice: remove one", key=f"{key}.{at}")
        return self


def grid_points(grid: GridConfig, training: TrainingConfig) -> tuple[GridPoint, ...]:
    """Return every combination of what the grid lists, sorted; what it does not list is as `training` says."""

    def values(listed: Sequence[Any] | None, otherwise: Any) -> Sequence[Any]:
        return listed if listed is not None else (otherwise,)

    combinations = itertools.product(
        grid.rates,
        values(grid.momentum, training.momentum),
        values(grid.weight_decay, training.weight_decay),
        values(grid.nesterov, training.nesterov),
        values(grid.huber_delta, training.huber_delta),
        values(grid.quantile, training.quantile),
    )
    return tuple(sorted(itertools.starmap(GridPoint, combinations)))
