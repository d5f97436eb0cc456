"""From a configuration to plain values: the grid, the settings, and the engine with the reason for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from jobs.cluster.tasks import ONE_RANK, RankGroupSize, RunLimits
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.settings import MAX_EPOCHS, EarlyStopping, Schedule, TrainingSettings
from jobs.engines.trials import EngineName

if TYPE_CHECKING:
    from jobs.config import JobConfig, TrainingConfig


Mode = Literal["min", "max"]
DEFAULT_EPOCHS = 1000  # where each trial can't have its own
Requirement = Literal["converged", "finite", "no worse than the mean"]


@dataclass(frozen=True)
class Recipe:
    """How every dataset of a job is trained.

    With `automatic_rates` the learning rates come from each dataset's own spectrum, and those here are ignored. With
    `ridge` every grid point of the job has weight decay, which determines weights that the data do not.
    `memory_mb` is the memory of a task.
    """

    engine: EngineName
    reason: str
    settings: TrainingSettings
    hyperparameters: Hyperparameters
    automatic_rates: bool
    inference_statistics: bool
    size: RankGroupSize = ONE_RANK
    memory_mb: int = 1024
    ridge: bool = False

    def digest(self) -> str:
        """Return the sha256, as hex, of the engine and the settings that a result depends on: all except the grid."""
        parts = [self.engine, self.settings.relevant()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Policy:
    """The metric that compares trials, what a trial needs to be promoted, and the rule that promotes a challenger."""

    metric: str
    mode: Mode
    promote: Literal["better", "always"] = "better"
    min_improvement: float = 0.0
    require: Requirement = "finite"


def make_recipe(config: JobConfig) -> Recipe:
    """Return how the datasets of a job are trained. Raises ConfigError through the configuration's own checks."""
    from jobs.config import grid_points

    engine, reason = choose_engine(config.training)
    hyperparameters = grid_points(config.grid, config.training)
    return Recipe(
        engine=engine,
        reason=reason,
        settings=settings_of(config),
        hyperparameters=hyperparameters,
        automatic_rates=config.grid.learning_rate == "auto",
        inference_statistics=config.training.inference_statistics,
        size=rank_group_size_of(config.training, engine),
        memory_mb=config.training.memory_mb,
        ridge=bool((hyperparameters.weight_decay_g > 0).all()),
    )


def rank_group_size_of(training: TrainingConfig, engine: EngineName) -> RankGroupSize:
    """Return the ranks of a block; the closed form needs no GPU."""
    use_gpu = training.use_gpu if engine == "minibatch" else False
    return RankGroupSize(training.num_workers, 1.0, training.gpus_per_block, use_gpu, training.placement)


def choose_engine(training: TrainingConfig) -> tuple[EngineName, str]:
    """Return the engine of a job, and one sentence that says why."""
    obstacle = training.closed_form_obstacle()
    if training.engine == "minibatch":
        return "minibatch", "minibatch, as the configuration says"
    if obstacle is not None:
        return "minibatch", f"minibatch: {obstacle[1]} has no closed form"
    if training.engine == "closed_form":
        return "closed_form", "closed_form, as the configuration says"
    return "closed_form", "closed_form: full-batch sgd on mse at constant rates is answered by one pass over the data"


def settings_of(config: JobConfig) -> TrainingSettings:
    """Return the settings of the engines."""
    training, automatic_rates = config.training, config.grid.learning_rate == "auto"
    stopping = training.early_stopping
    asked = automatic_rates or "epochs" in training.model_fields_set
    automatic_epochs = training.epochs == "auto" and asked and training.has_closed_form and not training.verify
    rules: dict[Any, Any] = training.schedule.model_dump(exclude_none=True)
    values = {
        each.name: getattr(training, each.name) for each in fields(TrainingSettings) if hasattr(training, each.name)
    }
    epochs = MAX_EPOCHS if automatic_epochs else DEFAULT_EPOCHS
    values |= {
        "epochs": epochs if training.epochs == "auto" else training.epochs,
        "automatic_epochs": automatic_epochs,
        "normalize": automatic_rates if training.normalize == "auto" else training.normalize,
        "num_evaluations": training.eval_epochs,
        "batch_size": None if training.batch_size == "full" else training.batch_size,
        "schedule": next((Schedule(**rule, kind=kind) for kind, rule in rules.items()), Schedule()),
        "early_stopping": EarlyStopping(**stopping.model_dump()) if stopping else None,
    }
    return TrainingSettings(**values)


def run_limits_of(training: TrainingConfig) -> RunLimits:
    """Return the limits of a run."""
    return RunLimits(**{each.name: getattr(training, each.name) for each in fields(RunLimits)})


def policies_of(config: JobConfig) -> dict[str, Policy]:
    """Return the policy of each dataset of the configuration, by its name."""
    rule = (config.mode, config.select.promote, config.select.min_improvement, config.require)
    return {dataset.name: Policy(config.metric_of(dataset), *rule) for dataset in config.datasets}
