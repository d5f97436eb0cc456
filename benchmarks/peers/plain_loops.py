"""What the article does, for each learning rate in turn: nn.Linear, MSELoss and an optimiser of torch.optim."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def train_full_batch(x_nd: Tensor, y_n: Tensor, rates: Iterable[float], epochs: int) -> list[nn.Linear]:
    """Return a model for each learning rate, by gradient descent on all rows."""
    models = []
    y_n1 = y_n[:, None]
    for rate in rates:
        torch.manual_seed(0)
        model = nn.Linear(x_nd.shape[1], 1)
        optimizer, loss_function = torch.optim.SGD(model.parameters(), lr=rate), nn.MSELoss()
        for _ in range(epochs):
            optimizer.zero_grad()
            loss_function(model(x_nd), y_n1).backward()
            optimizer.step()
        models.append(model)
    return models


def train_minibatches(
    x_nd: Tensor, y_n: Tensor, rates: Iterable[float], batch_size: int, kind: type[torch.optim.Optimizer]
) -> list[nn.Linear]:
    """Return a model for each learning rate, by one epoch of shuffled batches."""
    models = []
    y_n1 = y_n[:, None]
    for rate in rates:
        torch.manual_seed(0)
        model = nn.Linear(x_nd.shape[1], 1)
        optimizer, loss_function = kind(model.parameters(), lr=rate), nn.MSELoss()
        for rows_b in torch.randperm(len(x_nd)).split(batch_size):
            optimizer.zero_grad()
            x_bd, y_b1 = x_nd.index_select(0, rows_b), y_n1.index_select(0, rows_b)  # a quarter of x_nd[rows_b]'s time
            loss_function(model(x_bd), y_b1).backward()
            optimizer.step()
        models.append(model)
    return models
