"""`verify: true`: train the champion again by a plain loop, and return the largest differences.

Shapes: n rows · b rows of a batch · d encoded columns · p weights (the d columns, and the bias last if there is one).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.engines.hyperparameters import reads
from jobs.engines.losses import LOSSES
from jobs.engines.minibatch.batches import shuffled
from jobs.engines.optimizers import OPTIMIZERS
from jobs.engines.scaling import scaling_of
from jobs.engines.settings import TrainingSettings
from jobs.recipe import Recipe
from jobs.sources.dataset import Dataset
from jobs.training.datasets import TrainedDatasets, rows_of


def verify(dataset: Dataset, trained: TrainedDatasets, point: int, recipe: Recipe) -> dict[str, float]:
    """Return the largest differences of weights and of predictions between a model and `plain_loop`, absolute.

    The loop runs to the chosen epoch, on the same rows, in the same units.
    """
    rows = rows_of(dataset)
    settings = recipe.settings
    scaling = scaling_of(trained.train_moments, settings)
    samples = rows.training(scaling, without=0 if rows.num_folds == 1 else None, loss=settings.loss).converted(
        torch.float32
    )
    epochs = int(trained.result.epoch_mg[0, point])
    hyperparameters = scaling.hyperparameters(trained.hyperparameters) if scaling else trained.hyperparameters
    factor_n = samples.factor_n
    weight_n = None if factor_n is None else factor_n.float() ** LOSSES[settings.loss].degree
    values = hyperparameters.values(0, point)
    weight_p = plain_loop(samples.x_nd, samples.y_n, values, settings, epochs, weight_n)
    if scaling is not None:
        weight_p = scaling.fold_back(weight_p[None], settings.bias)[0]
    ours_p = trained.result.weight_mgp[0, point]
    x_nd = rows.x_nd.double()
    ours_n, theirs_n = _predict(x_nd, ours_p), _predict(x_nd, weight_p)
    return {
        "max_weight_difference": (ours_p - weight_p).abs().max().item(),
        "max_prediction_difference": (ours_n - theirs_n).abs().max().item(),
    }


def _predict(x_nd: Tensor, weight_p: Tensor) -> Tensor:
    d = x_nd.shape[1]
    return x_nd @ weight_p[:d] + (weight_p[d] if len(weight_p) > d else 0.0)


def plain_loop(
    x_nd: Tensor,
    y_n: Tensor,
    point: dict[str, float | bool],
    settings: TrainingSettings,
    epochs: int,
    weight_n: Tensor | None = None,
) -> Tensor:
    """Return the weights (p,) float64 of `nn.Linear`, a loss of torch.nn and an optimiser of torch.optim, step by step.

    It runs the first `epochs` of the whole training, with its schedule. `weight_n` are relative to their mean.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = nn.Linear(x_nd.shape[1], 1, bias=settings.bias)
    loss, optimizer_class = LOSSES[settings.loss], OPTIMIZERS[settings.optimizer]
    loss_function = loss.torch_loss(**{name: point[name] for name in reads(loss)})
    values = {name: point[name] if name in point else getattr(settings, name) for name in reads(optimizer_class)}
    optimizer = optimizer_class.torch_optimizer(model.parameters(), point["learning_rate"], **values)
    y_n1 = y_n[:, None]
    for epoch in range(1, epochs + 1):
        for group in optimizer.param_groups:
            group["lr"] = point["learning_rate"] * settings.schedule.at(epoch - 1, settings.epochs)
        for rows_b in _batches(len(x_nd), settings, epoch):
            optimizer.zero_grad()
            if weight_n is None:
                loss_function(model(x_nd[rows_b]), y_n1[rows_b]).backward()
            else:
                loss_b = torch.func.vmap(loss_function)(model(x_nd[rows_b]), y_n1[rows_b])
                (weight_n[rows_b] * loss_b).mean().backward()
            optimizer.step()
    parts = [model.weight.detach()[0]] + ([model.bias.detach()] if settings.bias else [])
    return torch.cat(parts).double()


def _batches(num_rows: int, settings: TrainingSettings, epoch: int) -> list[Tensor]:
    size = settings.batch_size
    if size is None or size >= num_rows:
        return [torch.arange(num_rows)]
    return list(torch.split(shuffled(num_rows, size, settings.seed, epoch)[0], size))
