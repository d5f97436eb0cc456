"""What a training task does: the groups of a part, from sums to models.

Shapes: m groups · g grid points · e evaluated epochs · k raw features · p weights (d, and the bias last).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from handler.model_card import ModelCard
from handler.stack import Stack, Statistics
from jobs.champions.selection import best_trials
from jobs.engines.closed_form import engine as closed_form
from jobs.engines.closed_form.inference_statistics import inverse_cross_product, residual_variance
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments
from jobs.engines.trials import BlockResult
from jobs.groups.scan.layout_types import Layout
from jobs.groups.scan.packed import Floats
from jobs.groups.scan.partial import Partial, merge
from jobs.groups.scan.trainable import Trainable, split_trainable
from jobs.groups.trial_table import dataset_table, trial_table
from jobs.recipe import Policy, Recipe
from jobs.training.datasets import resolve

REPEATED = ["dataset", "engine", "status", "momentum", "nesterov", "weight_decay", "epochs.list.element"]  # in trials
NO_CONVERGENCE = "no trial converged to a finite loss: set 'grid.learning_rate: auto', or smaller rates"


Engine = Callable[[Trainable, Hyperparameters, bool], BlockResult]  # the bool: whether curves are wanted


@dataclass(frozen=True)
class GroupsSpec:
    """What a training task is told: how rows were read, how groups are trained, and how trials are compared.

    A part of up to `max_detailed_trials` keeps the loss curves and the coefficients of each; a larger one those of the
    best alone.
    """

    layout: Layout
    recipe: Recipe
    policy: Policy
    max_detailed_trials: int


@dataclass(frozen=True)
class TrainedGroups:
    """Trained groups that share a model card, the best trial of each; only those with a finite score are here.

    `trained` and `scored` are the moments of the rows that the models were fitted to, and that validate.
    """

    stack: Stack
    name_m: pa.Array
    point_m: Tensor
    learning_rate_m: Tensor
    score_m: Tensor
    epoch_m: Tensor
    status_m: list[str]
    train_mse_m: Tensor
    val_mse_m: Tensor
    r2_m: Tensor
    fingerprint_m: list[str]
    trained: Moments
    scored: Moments
    hyperparameters: Hyperparameters
    engine: str

    @property
    def num_groups(self) -> int:
        return len(self.name_m)


@dataclass(frozen=True)
class PartResult:
    """What a training task returns: the models by card, what failed and why; its trials and its datasets as parquet."""

    trained: tuple[TrainedGroups, ...]
    failures: dict[str, str]
    unconverged: dict[str, str]
    trials: bytes | None
    datasets: bytes | None


def train_part(spec: GroupsSpec, *partials: Partial) -> PartResult:
    """Return the groups of all partials trained at every grid point, in closed form."""
    settings = spec.recipe.settings

    def engine(groups: Trainable, hyper: Hyperparameters, want_curves: bool) -> BlockResult:
        return closed_form.train(groups.moments, groups.held_out, hyper, settings, want_curves=want_curves)

    return train_groups(spec, merge(partials), engine)


def train_groups(spec: GroupsSpec, partial: Partial, engine: Engine) -> PartResult:
    """Return the groups trained by an engine at every grid point, those that can be."""
    trainable, failures = split_trainable(partial, spec.layout, spec.recipe.settings.bias)
    parts = [_train(one, spec, engine) for one in trainable]
    return PartResult(
        trained=tuple(trained for trained, _, _, _ in parts if trained is not None),
        failures=failures,
        unconverged={name: NO_CONVERGENCE for _, names, _, _ in parts for name in names},
        trials=as_parquet([trials for _, _, trials, _ in parts]),
        datasets=as_parquet([datasets for _, _, _, datasets in parts]),
    )


def merge_parts(*partials: Partial) -> Partial:
    """Return several partials as one: a branch of the tree by which many scans are added up."""
    return merge(partials)


def as_parquet(tables: Sequence[pa.Table]) -> bytes | None:
    """Return tables of trials, or of datasets, as one parquet file; None where there is none."""
    if not tables:
        return None
    sink = io.BytesIO()
    table = pa.concat_tables(tables, promote_options="default")
    pq.write_table(table, sink, compression="zstd", use_dictionary=REPEATED)
    return sink.getvalue()


def _train(
    groups: Trainable, spec: GroupsSpec, engine: Engine
) -> tuple[TrainedGroups | None, list[str], pa.Table, pa.Table]:
    recipe, policy = spec.recipe, spec.policy
    kept = groups.moments.without(groups.held_out[0]) if len(groups.held_out) == 1 else groups.moments
    hyper = resolve(kept, recipe)
    if len(hyper.learning_rate_mg) == 1:
        hyper = hyper.for_datasets(kept.num_datasets)
    detailed = hyper.learning_rate_mg.numel() <= spec.max_detailed_trials
    result = engine(groups, hyper, detailed)
    point_m = best_trials(result.metric(policy.metric), hyper.learning_rate_mg, policy.mode)
    found_m = (point_m >= 0).nonzero()[:, 0]
    fingerprints = _fingerprints(groups, kept, spec.layout)
    names = groups.name_m.to_pylist()
    unconverged = [names[m] for m in (point_m < 0).nonzero()[:, 0].tolist()]
    trained = None
    if len(found_m):
        trained = _best(groups, kept, result, hyper, found_m, point_m[found_m], fingerprints, spec)
    trials = trial_table(groups.name_m, groups.card, hyper, result, detailed=detailed)
    return trained, unconverged, trials, dataset_table(groups.name_m, kept, fingerprints, recipe.settings)


def _best(
    groups: Trainable,
    kept: Moments,
    result: BlockResult,
    hyper: Hyperparameters,
    found_m: Tensor,
    point_m: Tensor,
    fingerprints: Sequence[str],
    spec: GroupsSpec,
) -> TrainedGroups:
    def chosen(values_mg: Tensor) -> Tensor:
        return values_mg[found_m, point_m]

    places = found_m.tolist()
    trained = kept.take(found_m)
    weight_mp = result.weight_mgp[found_m, point_m]
    score_mg = result.metric(spec.policy.metric)
    return TrainedGroups(
        stack=_stack(groups, trained, weight_mp, found_m, spec),
        name_m=groups.name_m.take(pa.array(places)),
        point_m=point_m,
        learning_rate_m=chosen(hyper.learning_rate_mg),
        score_m=chosen(score_mg),
        epoch_m=chosen(result.epoch_mg),
        status_m=np.where(chosen(result.converged_mg).numpy(), "converged", "not_converged").tolist(),
        train_mse_m=chosen(result.train_mse_mg),
        val_mse_m=chosen(result.val_mse_mg),
        r2_m=chosen(result.r2_mg),
        fingerprint_m=[fingerprints[m] for m in places],
        trained=trained,
        scored=groups.held_out[0].take(found_m) if len(groups.held_out) == 1 else groups.moments.take(found_m),
        hyperparameters=hyper.datasets(slice(1)),
        engine=result.engine,
    )


def _stack(groups: Trainable, trained: Moments, weight_mp: Tensor, found_m: Tensor, spec: GroupsSpec) -> Stack:
    card: ModelCard = groups.card
    d, index = len(card.columns), found_m.numpy()
    known = Statistics(
        fill_mk=torch.from_numpy(_fill(groups, spec.layout)[index]),
        feature_min_mk=torch.from_numpy(groups.low_mk[index, :-1].copy()),
        feature_max_mk=torch.from_numpy(groups.high_mk[index, :-1].copy()),
        column_mean_md=trained.mean_md,
        num_rows_m=trained.num_rows_m,
        inverse_cross_product_mpp=(
            inverse_cross_product(trained, card.bias) if spec.recipe.inference_statistics else None
        ),
        residual_variance_m=(
            residual_variance(trained, weight_mp, card.bias) if spec.recipe.inference_statistics else None
        ),
    )
    return Stack(card, weight_mp[:, :d].contiguous(), weight_mp[:, d].contiguous() if card.bias else None, known)


def _fill(groups: Trainable, layout: Layout) -> Floats:
    if layout.fills is None:
        return np.full((len(groups.name_m), len(groups.card.features)), np.nan)
    return layout.fills.of(groups.name_m)


def _fingerprints(groups: Trainable, kept: Moments, layout: Layout) -> list[str]:
    """Return a sha256 of each group's rows, whatever their order, of its columns, and of which rows validate."""
    head = "\n".join([*groups.card.columns, groups.card.target, repr(layout.split)]).encode()
    counts = torch.stack([groups.moments.num_rows_m, kept.num_rows_m], dim=1).numpy()
    tails = np.concatenate([groups.hash_m2.view(np.uint8), counts.view(np.uint8)], axis=1)
    return [hashlib.sha256(head + tail.tobytes()).hexdigest() for tail in tails]
