"""The scan task: read fragments once, in chunks of bounded size, and sum them by group.

Shapes: k raw features, and the target last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from jobs.groups.scan.chunks import chunk_partial
from jobs.groups.scan.layout import Layout
from jobs.groups.scan.packed import packed_width
from jobs.groups.scan.partial import MERGE_AT_BYTES, Partial, Sums
from jobs.sources.columns import Fragment
from jobs.sources.reading import prefetched, read_columns
from jobs.sources.resolved import dataset_in_errors, require_same_files
from model_store.objects.s3_settings import S3Settings

SHARE_OF_MEMORY = 4  # a chunk, the chunks read ahead, and their temporaries may take a quarter of a task's memory
MAX_CHUNK_ROWS = 1 << 16


def chunk_rows(num_columns: int, memory_mb: int) -> int:
    """Return the rows of a chunk: with its temporaries it takes some six float64 for each column."""
    row_bytes = 8 * 6 * (num_columns + 1)
    return max(1024, min(MAX_CHUNK_ROWS, memory_mb * 2**20 // SHARE_OF_MEMORY // row_bytes))


def scan(
    fragments: Sequence[Fragment],
    layout: Layout,
    s3: S3Settings,
    memory_mb: int,
    num_parts: int,
    *,
    keep_rows: bool = False,
) -> tuple[int | Partial, ...]:
    """Return the number of rows, then the groups in `num_parts` parts, with their rows if these are kept.

    Raises DataError if a file can't be read in the configured format.
    """
    rows_at_once = chunk_rows(len(layout.card.columns), memory_mb)
    sums, num_rows = Sums(num_parts, max(memory_mb * 2**20, MERGE_AT_BYTES)), 0
    with dataset_in_errors(layout.dataset), np.errstate(over="ignore", invalid="ignore"):  # `untrainable` says it
        require_same_files(fragments, s3)
        for columns in prefetched(read_columns(fragments, layout.wanted, s3, batch_rows=rows_at_once)):
            sums.add(chunk_partial(columns, layout, s3, keep_rows=keep_rows))
            num_rows += columns.num_rows
    return (num_rows, *(sums.parts() if num_rows else (no_groups(layout),) * num_parts))


def no_groups(layout: Layout) -> Partial:
    """Return the partial without groups."""
    num_folds = layout.split.num_folds if layout.split else 0
    d, k = len(layout.card.columns), len(layout.card.features)
    return Partial(
        name_m=pa.array([], pa.large_string()),
        moments_mhf=np.zeros((0, 1 + num_folds, packed_width(d))),
        low_mk=np.zeros((0, k + 1)),
        high_mk=np.zeros((0, k + 1)),
        hash_m2=np.zeros((0, 2), dtype=np.uint64),
        extremes=None,
        failures={},
    )
