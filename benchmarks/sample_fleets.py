"""Collections of many datasets, made of random numbers, to be served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from handler.models.fleet import FactTable, Fleet, TextColumn
from handler.models.stack import Stack, Statistics
from handler.models.text_table import NameIndex, TextTable
from handler.rows.model_card import Feature, ModelCard
from model_store.archives.archive import Archive, write_archive


def sample_archive(
    num_datasets: int, folder: Path, features: Sequence[Feature] = (Feature("area"),), names: Sequence[str] = ()
) -> Archive:
    """Write the archive of a collection of this many datasets, with these names, or store-0000000 and on."""
    m, k, p = num_datasets, len(features), len(features) + 1
    generator = torch.Generator().manual_seed(0)
    card = ModelCard("y", tuple(features))

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    statistics = Statistics(
        fill_mk=torch.tensor([[0.5 if feature.fills else torch.nan for feature in features]] * m, dtype=torch.float64),
        feature_min_mk=random(m, k) - 1,
        feature_max_mk=random(m, k) + 10,
        column_mean_md=random(m, k),
        num_rows_m=torch.full((m,), 100.0, dtype=torch.float64),
        inverse_cross_product_mpp=random(m, p, p),
        residual_variance_m=random(m),
    )
    stack = Stack(card, random(m, k), random(m), statistics)
    row_n = np.arange(m, dtype=np.int32)
    index = NameIndex.of(names or [f"store-{i:07d}" for i in range(m)])
    facts = FactTable(
        {name: np.random.default_rng(0).random(m) for name in ("train_mse", "r2", "score", "num_rows", "epoch")},
        {"run_id": TextColumn(np.zeros(m, np.int32), TextTable.of(["run"]))},
    )
    fleet = Fleet("fleet", 1, index, np.zeros(m, np.int32), row_n, (stack.arrays(),), facts)
    return write_archive(fleet, folder)
