"""Blocks: which datasets one Ray task trains together, by their size."""

from __future__ import annotations

from collections.abc import Sequence

from jobs.cluster.chunking import chunk_by_size
from jobs.sources.dataset import Dataset

BLOCK_BYTES = 64 * 2**20  # enough work to outweigh a task's few milliseconds, small enough to spread


def make_blocks(datasets: Sequence[Dataset], num_blocks_min: int = 2) -> dict[str, dict[str, Dataset]]:
    """Return the blocks by key, each with its datasets by name; small datasets share one, in the order they were given.

    There are at least `num_blocks_min` where there are datasets enough, so that more than one slot has work.
    """
    total = sum(_size_bytes(dataset) for dataset in datasets)
    limit = min(BLOCK_BYTES, -(-total // num_blocks_min))
    blocks = chunk_by_size(datasets, _size_bytes, limit)
    return {_key(block): {dataset.name: dataset for dataset in block} for block in blocks}


def _key(block: Sequence[Dataset]) -> str:
    return block[0].name if len(block) == 1 else f"{block[0].name} … {block[-1].name}"


def _size_bytes(dataset: Dataset) -> int:
    return int(dataset.x_nd.nbytes + dataset.y_n.nbytes)
