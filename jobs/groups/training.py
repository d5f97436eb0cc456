"""Train the groups of a part, from their sums.

Shapes: m groups · g grid points · k raw features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from jobs.champions.challengers import Challengers, challengers_of
from jobs.champions.promotion import reasons_of
from jobs.engines.closed_form import engine as closed_form
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments
from jobs.engines.trials import BlockResult
from jobs.groups.scan.layout import Layout
from jobs.groups.scan.partial import Partial, merge
from jobs.groups.scan.trainable import Trainable, left_out_by_group, split_trainable
from jobs.recipe import Policy, Recipe
from jobs.training.datasets import TrainedDatasets, notes_of, resolve
from jobs.trials.table import trials_parquet

Engine = Callable[[Trainable, Hyperparameters, bool], BlockResult]  # the bool: whether curves are wanted


@dataclass(frozen=True)
class GroupsSpec:
    """The arguments of a training task: how rows were read, how groups are trained, and how trials are compared.

    A part of up to `max_detailed_trials` has the loss curves and the coefficients of each; a larger one only those of
    the best.
    """

    layout: Layout
    recipe: Recipe
    policy: Policy
    max_detailed_trials: int


@dataclass(frozen=True)
class PartResult:
    """The result of a training task: models by card, reasons of groups without one, and the trials as parquet.

    `left_out` counts the rows of groups that are left out, by reason.
    """

    trained: tuple[Challengers, ...]
    failures: dict[str, str]
    unconverged: dict[str, str]
    trials: bytes | None
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def num_datasets(self) -> int:
        """The number of datasets that were trained, with a model or without."""
        return len(self.unconverged) + sum(challengers.num_datasets for challengers in self.trained)


def train_part(spec: GroupsSpec, *partials: Partial) -> PartResult:
    """Return the groups of all partials trained at every grid point, in closed form."""
    settings = spec.recipe.settings

    def engine(groups: Trainable, hyper: Hyperparameters, want_curves: bool) -> BlockResult:
        return closed_form.train(groups.moments, groups.held_out, hyper, settings, want_curves=want_curves)

    return train_groups(spec, merge(partials), engine)


def train_groups(spec: GroupsSpec, partial: Partial, engine: Engine) -> PartResult:
    """Return the trainable groups at every grid point, trained by an engine."""
    trainable, failures = split_trainable(partial, spec.layout, spec.recipe.settings.bias, ridge=spec.recipe.ridge)
    trained = [_train(groups, spec, engine) for groups in trainable]
    tables = [each.trials(detailed=_is_detailed(each.hyperparameters, spec)) for each in trained]
    statistics = spec.recipe.inference_statistics
    best = [
        challengers_of(each, trials, spec.policy, inference_statistics=statistics)
        for each, trials in zip(trained, tables, strict=True)
    ]
    return PartResult(
        trained=tuple(challengers for challengers in best if challengers is not None),
        failures=failures,
        unconverged={name: reason for each in trained for name, reason in reasons_of(each, spec.policy).items()},
        trials=trials_parquet(tables) if tables else None,
        notes={
            each.name_m[place]: sentences
            for each in trained
            for place, sentences in notes_of(each.card, each.train_moments).items()
        },
        left_out=left_out_by_group(partial, spec.layout),
    )


def _train(groups: Trainable, spec: GroupsSpec, engine: Engine) -> TrainedDatasets:
    """Return the groups at every grid point; if there are many trials, the curves have only the last epoch."""
    recipe, fills = spec.recipe, spec.layout.fills
    scored = groups.held_out[0] if len(groups.held_out) == 1 else groups.moments
    trained = groups.moments.without(scored) if len(groups.held_out) == 1 else groups.moments
    hyper = resolve(trained, recipe)
    if len(hyper.learning_rate_mg) == 1:
        hyper = hyper.for_datasets(trained.num_datasets)
    return TrainedDatasets(
        name_m=tuple(groups.name_m.to_pylist()),
        card=groups.card,
        fingerprint_m=_fingerprints(groups, trained, spec.layout),
        settings=recipe.settings,
        hyperparameters=hyper,
        result=engine(groups, hyper, _is_detailed(hyper, spec)),
        train_moments=trained,
        score_moments=scored,
        fill_mk=fills.of(groups.name_m) if fills is not None else np.full(groups.low_mk[:, :-1].shape, np.nan),
        feature_min_mk=groups.low_mk[:, :-1],
        feature_max_mk=groups.high_mk[:, :-1],
        frequency=spec.layout.weights is not None and spec.layout.weights.kind == "frequency",
    )


def _is_detailed(hyper: Hyperparameters, spec: GroupsSpec) -> bool:
    return hyper.learning_rate_mg.numel() <= spec.max_detailed_trials


def _fingerprints(groups: Trainable, trained: Moments, layout: Layout) -> tuple[str, ...]:
    """Return a sha256 of each group: of its rows in any order, its columns, and the split."""
    card = groups.card
    rules = [] if card.is_of_first_format else [card.to_json()]  # two cards may read the same rows in two ways
    head = "\n".join([*card.columns, card.target, repr(layout.split), *rules]).encode()
    counts = torch.stack([groups.moments.num_rows_m, trained.num_rows_m], dim=1).numpy()
    tails = np.concatenate([groups.hash_m2.view(np.uint8), counts.view(np.uint8)], axis=1)
    return tuple(hashlib.sha256(head + tail.tobytes()).hexdigest() for tail in tails)
