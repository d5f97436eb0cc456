"""The best trials of datasets, as models to commit.

Shapes: m datasets · g grid points · t trials · k raw features · d encoded columns
· p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from handler.models.stack import Stack, Statistics
from jobs.champions.choice import why_chosen
from jobs.champions.promotion import warnings_of
from jobs.champions.selection import best_points, score_of
from jobs.engines.closed_form.inference_statistics import statistics_of
from jobs.engines.moments import Moments
from jobs.recipe import Policy
from jobs.training.datasets import TrainedDatasets
from jobs.trials.documents import HYPER, trial_documents
from jobs.trials.table import coefficient_columns

NOT_OF_THE_BEST = ["columns", "coefficients", "epochs", "train_curve", "val_curve"]  # the stack has the weights


@dataclass(frozen=True)
class Challengers:
    """The best trials of m ≥ 1 datasets that share a model card; only datasets with a trial to promote are here.

    `trials` has a row for each, in the columns of `trial_table`, and `choice` (why it was chosen) and `warning` (null:
    there is none); `point_m` are their grid points. The moments are those of the rows that the models were fitted to,
    and of those that validate.
    """

    stack: Stack
    trials: pa.Table
    point_m: Tensor
    score_m: Tensor
    train_moments: Moments
    score_moments: Moments

    @property
    def num_datasets(self) -> int:
        return len(self.trials)

    @property
    def name_m(self) -> pa.Array:
        """The names of the datasets."""
        return self.column("dataset")

    def column(self, name: str) -> pa.Array:
        """Return a column of the trials."""
        return self.trials[name].combine_chunks()

    def hyperparameters(self) -> pa.Array:
        """Return the hyperparameters of each as JSON."""
        return self.texts(lambda values: json.dumps(values, sort_keys=True))

    def texts(self, text: Callable[[dict[str, Any]], str]) -> pa.Array:
        """Return a text of the hyperparameters of each; that of equal ones is made once."""
        made: dict[tuple[Any, ...], str] = {}
        texts = []
        for values in zip(*(self.column(name).to_pylist() for name in HYPER), strict=True):
            if values not in made:
                made[values] = text(dict(zip(HYPER, values, strict=True)))
            texts.append(made[values])
        return pa.array(texts, pa.string())

    def documents(self, index: pa.Array) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the names and the documents of the best trials at `index`."""
        place_t = torch.from_numpy(index.to_numpy().astype(np.int64))
        trials = self.trials.take(index)
        for name, column in coefficient_columns(self.stack.card, weights(self.stack, place_t)).items():
            trials = trials.append_column(name, column)
        return trial_documents(trials)


def weights(stack: Stack, index_t: Tensor) -> Tensor:
    """Return the weights (t, p) of the models at `index_t`, the bias last."""
    weight_td = stack.weight_md[index_t]
    return weight_td if stack.bias_m is None else torch.cat([weight_td, stack.bias_m[index_t, None]], dim=1)


def challengers_of(
    trained: TrainedDatasets, trials: pa.Table, policy: Policy, *, inference_statistics: bool
) -> Challengers | None:
    """Return the best trial of each dataset that has one to promote, None if none has; `trials` are those of all."""
    best_m = best_points(trained, policy)
    found_m = (best_m >= 0).nonzero()[:, 0]
    if not len(found_m):
        return None
    point_m = best_m[found_m]
    moments = trained.train_moments.take(found_m)
    row_m = found_m * trained.hyperparameters.num_points + point_m
    rows = trials.drop_columns([name for name in NOT_OF_THE_BEST if name in trials.column_names]).take(row_m.numpy())
    for name in ("dataset", "fingerprint"):  # each once: a dictionary would only take room
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(pa.string()))
    rows = rows.append_column("warning", pa.array(warnings_of(trained, found_m, point_m), pa.string()))
    rate_mg, gap_mg = trained.hyperparameters.learning_rate_mg[found_m], trained.result.gap_mg[found_m]
    choice = why_chosen(score_of(trained, policy)[found_m], gap_mg, rate_mg, point_m, policy)
    rows = rows.append_column("choice", pa.array(choice, pa.string()))
    return Challengers(
        stack=_stack(trained, moments, found_m, point_m, inference_statistics),
        trials=rows,
        point_m=point_m,
        score_m=trained.result.metric(policy.metric)[found_m, point_m],
        train_moments=moments,
        score_moments=trained.score_moments.take(found_m),
    )


def _stack(trained: TrainedDatasets, moments: Moments, found_m: Tensor, point_m: Tensor, inference: bool) -> Stack:
    """Return the models, with the statistics that serving needs."""
    card, weight_mp = trained.card, trained.result.weight_mgp[found_m, point_m]
    d, index_m = len(card.columns), found_m.numpy()
    inferred = statistics_of(moments, weight_mp, card.bias, frequency=trained.frequency) if inference else None
    statistics = Statistics(
        fill_mk=torch.from_numpy(trained.fill_mk[index_m]),
        feature_min_mk=torch.from_numpy(trained.feature_min_mk[index_m]),
        feature_max_mk=torch.from_numpy(trained.feature_max_mk[index_m]),
        column_mean_md=moments.mean_md,
        num_rows_m=moments.rows_m,
        weight_sum_m=None if moments.count_m is None else moments.num_rows_m,
        **({} if inferred is None else vars(inferred)),
    )
    return Stack(card, weight_mp[:, :d].contiguous(), weight_mp[:, d].contiguous() if card.bias else None, statistics)
