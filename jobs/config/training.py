"""The `training` of a configuration: how every grid point is trained, and with what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from jobs.config.values import (
    REAL,
    WHOLE,
    BelowOne,
    Count,
    Flag,
    Fraction,
    NotNegative,
    Positive,
    Section,
    Seed,
    nothing_for_none,
    refused,
)
from jobs.engines.optimizers import OPTIMIZERS
from jobs.engines.settings import MAX_EPOCHS, LossName, OptimizerName, owners_lacking


class StepConfig(Section):
    """The learning rate is multiplied by `factor` after every `every` epochs."""

    every: Count
    factor: Annotated[float, Field(gt=0, le=1), REAL]


class CosineConfig(Section):
    """The learning rate falls to zero along half a cosine, over all epochs."""


class InverseTimeConfig(Section):
    """The learning rate at epoch e (from 0) is divided by 1 + decay · e."""

    decay: Positive


class ScheduleConfig(Section):
    """How the learning rate changes over the epochs; at most one rule, none for a constant one."""

    step: StepConfig | None = None
    cosine: CosineConfig | None = None
    inverse_time: InverseTimeConfig | None = None

    @property
    def constant(self) -> bool:
        """Whether the learning rate stays as it is."""
        return all(rule is None for _, rule in self)

    @model_validator(mode="after")
    def _one_rule(self) -> ScheduleConfig:
        if sum(rule is not None for _, rule in self) > 1:
            raise refused("holds several rules: keep one of 'step', 'cosine', 'inverse_time'")
        return self


class EarlyStoppingConfig(Section):
    """A grid point stops after `patience` evaluations that improve its loss by no more than `tolerance`."""

    patience: Count = 3
    """The number of evaluations to wait for an improvement."""
    tolerance: NotNegative = 1e-3
    """The share of the best loss by which a new one has to be lower to count as an improvement."""


def _schedule(value: Any) -> Any:
    return {} if value == "constant" else value


def _batch_size(value: Any) -> Any:
    if value != "full" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise refused("is neither 'full' nor a whole number from 1: write one of them")
    return value


def _auto_or_number(value: Any) -> str:
    return "!auto" if value == "auto" else "!number"


def _normalize(value: Any) -> Any:
    if value not in ("auto", "features") and not isinstance(value, bool):
        raise refused("is none of auto, true, false and features: write one of them")
    return value


def _use_gpu(value: Any) -> Any:
    if value != "auto" and not isinstance(value, bool):
        raise refused("is none of auto, true and false: write one of them")
    return value


class TrainingConfig(Section):
    """How every grid point is trained, and with what. A hyperparameter that the grid lists is not set here."""

    epochs: Annotated[
        Annotated[int, Field(ge=1, le=MAX_EPOCHS), WHOLE, Tag("!number")] | Annotated[Literal["auto"], Tag("!auto")],
        Discriminator(_auto_or_number),
    ] = "auto"
    """Passes over the data. With `auto` each trial of the closed form ends where more would change nothing; left out,
    that is where `learning_rate: auto` is said, else 1000."""
    batch_size: Annotated[
        int | Literal["full"], BeforeValidator(_batch_size, json_schema_input_type=Count | Literal["full"])
    ] = "full"
    """Rows to a step: `full` for all of them."""
    optimizer: OptimizerName = "sgd"
    """The optimiser, as in torch.optim."""
    momentum: BelowOne = 0.0
    """Of sgd and rmsprop."""
    nesterov: Flag = False
    """Of sgd, with a momentum."""
    weight_decay: NotNegative = 0.0
    """As in torch.optim: added to the gradient, but for adamw, which decays the weights themselves."""
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    """Of adam and adamw."""
    alpha: BelowOne = 0.99
    """Of rmsprop: how much of the running mean of the squared gradients a step keeps."""
    eps: Positive = 1e-8
    """Of adam, adamw and rmsprop."""
    loss: LossName = "mse"
    """What is minimised."""
    huber_delta: Positive = 1.0
    """The residual from which the huber loss is linear, in units of the target."""
    quantile: Fraction = 0.5
    """The quantile that the quantile loss aims at."""
    normalize: Annotated[bool | Literal["auto", "features"], BeforeValidator(_normalize)] = "auto"
    """Scale features and target while training, or the features alone; `auto`: both with `learning_rate: auto`.
    It is folded back: the model always takes raw units, and losses are in units of the target."""
    bias: Flag = True
    """False fits through the origin."""
    seed: Seed = 0
    """Of the initial weights and of the shuffling."""
    keep: Literal["best", "last"] = "best"
    """Which evaluated epoch is the trial's model."""
    engine: Literal["auto", "closed_form", "minibatch"] = "auto"
    """What trains a block; `auto` leaves it to the planner."""
    num_workers: Count = 1
    """The DDP ranks of a block."""
    use_gpu: Annotated[bool | Literal["auto"], BeforeValidator(_use_gpu)] = "auto"
    """Whether a block trains on CUDA; `auto`: where the cluster has GPUs and the work is worth one."""
    gpus_per_block: Positive = 1.0
    """The GPUs that a rank asks Ray for; less than 1 to share one."""
    eval_epochs: Count = 64
    """The number of log-spaced epochs at which losses are evaluated; the last epoch is always one."""
    early_stopping: Annotated[
        EarlyStoppingConfig | None,
        BeforeValidator(nothing_for_none, json_schema_input_type=EarlyStoppingConfig | Literal["none"] | None),
    ] = None
    """When a grid point stops before its last epoch."""
    schedule: Annotated[
        ScheduleConfig, BeforeValidator(_schedule, json_schema_input_type=ScheduleConfig | Literal["constant"])
    ] = ScheduleConfig()
    """How the learning rate changes: constant, {step: {every, factor}}, {cosine: {}}, {inverse_time: {decay}}."""
    verify: Flag = False
    """Train the champion again by the plain loop, and report the largest difference."""
    memory_mb: Annotated[int, Field(ge=64), WHOLE] = 1024
    """The memory of a task; data that takes more is streamed."""
    dtype: Literal["float32", "float64"] = "float32"
    """Of the minibatch engine; the closed form is always float64."""
    max_failures: Annotated[int, Field(ge=0), WHOLE] = 3
    """How often a block that lost its worker is started again."""
    checkpoint_every_s: Positive = 60.0
    """Seconds between the checkpoints from which a lost block goes on."""
    wait_for_resources_s: NotNegative = 0.0
    """Seconds to wait for a cluster that lacks what a block needs to grow; 0 for an error at once."""
    placement: Literal["pack", "strict_pack", "spread"] = "pack"
    """Whether the ranks of a block go to few nodes, to one node or nowhere, or to many."""
    timeout_s: Positive | None = None
    """Seconds after which a job gives up; left out, it never does."""
    inference_statistics: Flag = True
    """Keep what standard errors and intervals are computed from with every model."""

    @model_validator(mode="after")
    def _possible(self) -> TrainingConfig:
        for name in type(self).model_fields:
            if name in self.model_fields_set:
                self.require_meaning(name, key=name)
        # Neither Ray nor NCCL gives a share of a GPU beside a whole one, or one GPU for two ranks.
        if self.gpus_per_block > 1 and not self.gpus_per_block.is_integer():
            raise refused("is neither a whole number nor below 1: round it", key="gpus_per_block")
        if self.gpus_per_block < 1 and self.num_workers > 1 and self.use_gpu is not False:
            raise refused(
                "is below 1, and ranks can't share a GPU: leave it at 1, set 'num_workers: 1', or 'use_gpu: false'",
                key="gpus_per_block",
            )
        obstacle = self.closed_form_obstacle()
        if self.engine == "closed_form" and obstacle is not None:
            raise refused(
                "has no closed form, which is of full-batch sgd on mse at a constant learning rate: "
                "set 'engine: auto', or remove it",
                key=obstacle[0],
            )
        self._check_automatic_epochs()
        return self

    def _check_automatic_epochs(self) -> None:
        if self.epochs != "auto" or "epochs" not in self.model_fields_set:
            return
        if not self.has_closed_form:
            why = self.closed_form_obstacle() or ("engine", "engine minibatch")
            raise refused(f"needs the closed form, which {why[1]} does not have: write a number", key="epochs")
        if self.verify:
            raise refused("may be a billion, which the plain loop of 'verify' can't do: write a number", key="epochs")

    @property
    def has_closed_form(self) -> bool:
        """Whether the closed form trains."""
        return self.engine != "minibatch" and self.closed_form_obstacle() is None

    def require_meaning(self, name: str, *, key: str) -> None:
        """Refuse a hyperparameter or a setting that neither the optimizer nor the loss reads, given at `key`."""
        owners = owners_lacking(name, self.optimizer, self.loss)
        if owners:
            raise refused(f"has a meaning with {' or '.join(owners)} only: remove it, or set that", key=key)

    def closed_form_obstacle(self) -> tuple[str, str] | None:
        """Return the key of what has no closed form, and what it is; None for full-batch gradient descent on mse."""
        for key, words, possible in (
            ("optimizer", f"optimizer {self.optimizer}", OPTIMIZERS[self.optimizer].has_closed_form),
            ("loss", f"loss {self.loss}", self.loss == "mse"),
            ("batch_size", f"batch size {self.batch_size}", self.batch_size == "full"),
            ("schedule", "a learning-rate schedule", self.schedule.constant),
            ("early_stopping", "early stopping", self.early_stopping is None),
        ):
            if not possible:
                return key, words
        return None

    def settings_of_datasets_in_memory(self) -> list[str]:
        """Return the keys of what is asked for here, and only done with a dataset that one task has in memory."""
        minibatch = not self.has_closed_form
        asked = {
            "verify": self.verify,
            "num_workers": self.num_workers > 1,
            "use_gpu": self.use_gpu is True and minibatch,
            "checkpoint_every_s": "checkpoint_every_s" in self.model_fields_set and minibatch,
        }
        return [key for key, is_asked in asked.items() if is_asked]
