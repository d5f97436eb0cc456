"""The epochs of a fit, wherever its rows come from: evaluation, divergence, early stopping, checkpoints.

Shapes: g grid points (of one dataset, or of each of many) · e evaluated epochs · p weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.engines.minibatch.checkpointing import Checkpoints, Trials, restore, state_of
from jobs.engines.minibatch.evaluation import Evaluator, Scores
from jobs.engines.minibatch.tracking import Tracker
from jobs.engines.settings import TrainingSettings, evaluated_epochs


@dataclass(frozen=True)
class Run:
    """A fit before its first step; `evaluator` scores any loss on the rows that train.

    `run_epoch` takes the steps of an epoch (from 1), and returns the loss of each trial, (g,).
    """

    trials: Trials
    run_epoch: Callable[[int], Tensor]
    evaluator: Evaluator


def fit(
    run: Run,
    scores: Scores,
    settings: TrainingSettings,
    *,
    name: str = "all",
    num_rows: int = 0,
    kept_index_g: Tensor | None = None,
    checkpoints: Checkpoints | None = None,
) -> Tracker:
    """Return the record of the trials, trained to the end.

    Each evaluated epoch is scored on the training rows, and on the validation rows where there are any; the best epoch
    by the latter, else by the former, is kept, or the one at `kept_index_g` where it is given. The fit continues from
    the state in `checkpoints` under its name, and is saved there whenever that is due.
    Each epoch, over `num_rows`, is told there.
    """
    trials = run.trials
    epochs_e = evaluated_epochs(settings.epochs, settings.num_evaluations).tolist()
    tracker = Tracker.start(len(trials.live_g), len(epochs_e), len(trials.weight_pg), settings, kept_index_g)
    saved = checkpoints.load(name) if checkpoints else None
    epoch, evaluation = restore(saved, trials, tracker) if saved else (0, 0)
    while epoch < settings.epochs and len(trials.live_g) > 0:
        epoch += 1
        total_g = run.run_epoch(epoch)
        if not bool(torch.isfinite(total_g.sum())):
            finite_g = torch.isfinite(total_g)
            tracker.diverged(trials.live_g[~finite_g], epoch)
            trials.take(finite_g.nonzero()[:, 0])
        if epoch == epochs_e[evaluation] and len(trials.live_g) > 0:
            _evaluate(trials, scores, tracker, evaluation)
            evaluation += 1
        if checkpoints is not None:
            checkpoints.passed(name, epoch, settings.epochs, num_rows)
            if checkpoints.due():
                checkpoints.save(name, state_of(trials, tracker, epoch, evaluation))
    if checkpoints is not None:
        checkpoints.save(name, state_of(trials, tracker, epoch, evaluation), send=False)
    return tracker


def _evaluate(trials: Trials, scores: Scores, tracker: Tracker, evaluation: int) -> None:
    train_g = trials.score(scores.train)
    val_g = trials.score(scores.val) if scores.val else None
    val_mse_g = trials.score(scores.val_mse) if scores.val_mse else val_g
    going_g = tracker.record(evaluation, trials.live_g, trials.weight_pg, train_g, val_g, val_mse_g)
    if not bool(going_g.all()):
        trials.take(going_g.nonzero()[:, 0])
