"""The configuration of a job as one frozen value, and what its sections have to agree on."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from jobs.config.datasets import DatasetConfig
from jobs.config.grid import GridConfig, grid_points
from jobs.config.prices import PricesConfig
from jobs.config.training import TrainingConfig
from jobs.config.values import TEXT, Location, NotNegative, Section, refused
from jobs.engines.hyperparameters import HYPERPARAMETERS

Metric = Literal["train_mse", "val_mse", "train_loss", "val_loss", "r2"]
Requirement = Literal["converged", "finite", "no worse than the mean"]


class SelectConfig(Section):
    """How the best trial of a dataset is found, and when it takes the champion's place."""

    metric: Metric | None = None
    """What trials are compared by; left out: the loss that is trained, of the rows that validate where some do."""
    mode: Literal["min", "max"] | None = None
    """Whether less or more of it is better; left out, as the metric has it."""
    promote: Literal["better", "always"] = "better"
    """Whether a challenger has to be better than the champion to take its place."""
    min_improvement: NotNegative = 0.0
    """By how much it has to be better, in units of the metric."""
    require: Literal["converged", "finite"] | None = None
    """What a model needs to be promoted; left out: `converged` where gridline chooses rates and epochs, else to predict
    no worse than the mean of the target."""

    @model_validator(mode="after")
    def _sensible_mode(self) -> SelectConfig:
        wanted = "max" if self.metric == "r2" else "min"
        if self.mode is not None and self.mode != wanted:
            metric = self.metric or "an error"
            raise refused(f"looks for the worst trial by {metric}: set 'mode: {wanted}', or remove it", key="mode")
        return self


class StoreConfig(Section):
    """Where models are kept. Endpoint and credentials come from the environment, by the names that AWS gives them."""

    uri: Location | None = None
    """s3://BUCKET/PREFIX, or a directory; left out, GRIDLINE_STORE or the folder gridline-store."""
    retry_s: NotNegative | None = Field(None, exclude=True)
    """Seconds for which a call to S3 is tried again while it does not answer, of the store and of sources; left out,
    GRIDLINE_RETRY_S, or 60. Not a part of what a job computes, so that a run with another value continues this one."""


class JobConfig(Section):
    """A job: datasets, the grid that each is trained at, how, and which model of it is kept where."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=128), TEXT]
    """The collection: what is committed, archived and served together."""
    datasets: Annotated[tuple[DatasetConfig, ...], Field(min_length=1)]
    """The tables for which a regression is wanted."""
    grid: GridConfig
    """The hyperparameters that are tried."""
    training: TrainingConfig = TrainingConfig()
    """How every grid point is trained."""
    select: SelectConfig = SelectConfig()
    """Which trial is kept."""
    store: StoreConfig | None = None
    """Where; left out, GRIDLINE_STORE or the folder gridline-store."""
    prices: PricesConfig | None = None
    """What the cost of a run is counted with; left out, no cost is counted."""

    @property
    def retry_s(self) -> float | None:
        """For how long a call to S3 is tried again; None: as the environment says."""
        return self.store.retry_s if self.store else None

    def metric_of(self, dataset: DatasetConfig) -> Metric:
        """Return what the trials of `dataset` are compared by."""
        if self.select.metric is not None:
            return self.select.metric
        if self.training.loss == "mse":
            return "train_mse" if dataset.validation is None else "val_mse"
        return "train_loss" if dataset.validation is None else "val_loss"

    @property
    def require(self) -> Requirement:
        """What the best trial needs to be promoted."""
        if self.select.require is not None:
            return self.select.require
        chosen_here = self.grid.learning_rate == "auto" and self.training.epochs == "auto"
        return "converged" if chosen_here else "no worse than the mean"

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether less or more of the metric is better."""
        return "max" if self.select.metric == "r2" else "min"

    def resolved(self) -> str:
        """Return the configuration with its defaults filled in, as canonical JSON: equal ones give equal text.

        Prices are left out: they change nothing that a job does.
        """
        return json.dumps(
            self.model_dump(mode="json", exclude={"prices"}), sort_keys=True, ensure_ascii=False, separators=(",", ":")
        )

    @model_validator(mode="after")
    def _agreed(self) -> Self:
        self._check_datasets()
        self._check_grid()
        self._check_groups()
        return self

    def _check_datasets(self) -> None:
        names: set[str] = set()
        for at, dataset in enumerate(self.datasets):
            if dataset.name in names:
                raise refused("is the name of two datasets: rename one", key=f"datasets.{at}.name")
            names.add(dataset.name)
            if dataset.weights is not None and self.training.loss == "huber" and not self.training.bias:
                raise refused("needs a bias with loss huber: set 'training.bias: true'", key=f"datasets.{at}.weights")
            if self.select.metric in ("val_mse", "val_loss") and dataset.validation is None:
                remedy = "set its 'validation', such as {fraction: 0.2}, or 'metric: train_mse'"
                raise refused(f"needs validation, and dataset {dataset.name!r} has none: {remedy}", key="select.metric")

    def _check_grid(self) -> None:
        """Refuse hyperparameters that are set twice, or that the optimizer or the loss does not have."""
        for name in (each.name for each in HYPERPARAMETERS if getattr(self.grid, each.name) is not None):
            self.training.require_meaning(name, key=f"grid.{name}")
            if name in self.training.model_fields_set:
                raise refused("is listed by 'grid' too: remove one of them", key=f"training.{name}")
        points = grid_points(self.grid, self.training)
        if bool((points.nesterov_g & (points.momentum_g == 0)).any()):
            section = "training" if "nesterov" in self.training.model_fields_set else "grid"
            raise refused("needs a momentum above 0 at every grid point: set one", key=f"{section}.nesterov")

    def _check_groups(self) -> None:
        """Refuse settings that have no effect on groups: a task trains many of them together, on one CPU."""
        grouped = next((dataset.name for dataset in self.datasets if dataset.group_by), None)
        for key in self.training.settings_of_datasets_in_memory() if grouped is not None else ():
            remedy = "remove it, or train datasets without 'group_by' in a job of their own"
            raise refused(f"has no effect on the groups of dataset {grouped!r}: {remedy}", key=f"training.{key}")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **JobConfig.model_json_schema()}
