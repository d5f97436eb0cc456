"""Stream the rows of a source that is too large for memory: read it again in every epoch, with bounded memory.

An epoch reads the fragments (parquet row groups; a delimited file is one) in an order drawn from the seed and the
epoch, and shuffles its rows within windows of a fixed number of rows, independent of the ends of fragments. So the same
fragments give the same batches, in one file or in many, and with any size of chunks. The batches differ from those of
the same rows in memory. The next chunks are read and encoded meanwhile.

Memory: two windows, and the chunks of `scan.chunk_rows` that are read ahead: about half of the budget.

Shapes: n rows of the dataset, or of a chunk as read · c rows of a chunk · k raw features · d encoded columns ·
q columns of z: d + 1, or d + 2 with a bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handler.rows.transforms import transformed_target
from jobs.engines.losses import row_factors
from jobs.engines.moments import Moments
from jobs.engines.scaling import Scaling
from jobs.errors import DataError
from jobs.groups.scan.kept_rows import kept_rows
from jobs.groups.scan.layout import Layout
from jobs.groups.scan.scan import chunk_rows
from jobs.sources.columns import Columns, Fragment
from jobs.sources.dataset import encode_columns
from jobs.sources.reading import prefetched, read_columns
from jobs.sources.resolved import dataset_in_errors
from jobs.sources.row_keys import row_keys
from jobs.sources.validation_split import draw, fold_of_rows
from model_store.objects.s3_settings import S3Settings

SHARE_OF_MEMORY = 16  # a window takes this share of the budget; there are two


@dataclass(frozen=True)
class Source:
    """The fragments of a streamed source, and the memory budget."""

    fragments: tuple[Fragment, ...]
    s3: S3Settings
    memory_mb: int


@dataclass(frozen=True)
class RowStream:
    """The encoded rows of a dataset, with the columns `column_d` of the layout, which have a weight."""

    source: Source
    layout: Layout
    column_d: NDArray[np.intp]
    bias: bool
    seed: int
    dtype: torch.dtype
    loss: str

    def chunks(
        self, scaling: Scaling | None, rows: Moments, *, without: int | None, within: int | None
    ) -> StreamedChunks:
        """Return the rows outside the fold `without`, or in the fold `within` (both None: all rows), scaled.

        `rows` are the moments of these rows.
        """
        mean_weight_1 = rows.num_rows_m / rows.rows_m
        return StreamedChunks(self, scaling, int(rows.rows_m[0]), mean_weight_1, without, within)


@dataclass(frozen=True)
class StreamedChunks:
    """Some rows of a stream; if their number is not `num_rows`, the source has changed."""

    stream: RowStream
    scaling: Scaling | None
    num_rows: int
    mean_weight_1: Tensor
    without: int | None
    within: int | None

    @property
    def weighted(self) -> bool:
        """Whether rows are multiplied by factors; see `losses.row_factors`."""
        return self.stream.layout.weights is not None

    def read(self, epoch: int | None) -> Iterator[Tensor]:
        """Yield z = [x 1 y], chunk by chunk; shuffled by the epoch, or in the order of the source if it is None."""
        fragments = self.stream.source.fragments
        if epoch is None:
            yield from self._counted(prefetched(self._chunks(fragments)))
            return
        generator = torch.Generator().manual_seed((self.stream.seed * 1_000_003 + epoch) % 2**63)
        order = torch.randperm(len(fragments), generator=generator).tolist()
        chunks = prefetched(self._chunks([fragments[at] for at in order]))
        yield from self._counted(self._windows(chunks, generator))

    def _counted(self, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield the chunks. Raises DataError if the number of rows has changed."""
        found = 0
        for chunk_cq in chunks:
            found += len(chunk_cq)
            if found > self.num_rows:
                break
            yield chunk_cq
        if found != self.num_rows:
            layout = self.stream.layout
            reason = f"{self.num_rows} rows were there at first, and now {'more' if found > self.num_rows else found}"
            raise DataError(
                f"dataset {layout.dataset!r}: {reason}: the files changed while they were read: start again"
            )

    def _windows(self, chunks: Iterator[Tensor], generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the shuffled rows, window by window; a window is valid until the next is requested."""
        stream, filled = self.stream, 0
        width = len(stream.column_d) + 1 + stream.bias
        size = stream.source.memory_mb * 2**20 // SHARE_OF_MEMORY // (width * stream.dtype.itemsize)
        window_cq = torch.empty(min(size, self.num_rows), width, dtype=stream.dtype)
        shuffled_cq = torch.empty_like(window_cq)
        for chunk_nq in chunks:
            at = 0
            while at < len(chunk_nq):
                taken = min(len(chunk_nq) - at, len(window_cq) - filled)
                window_cq[filled : filled + taken] = chunk_nq[at : at + taken]
                filled, at = filled + taken, at + taken
                if filled == len(window_cq):
                    yield _shuffle(window_cq, generator, shuffled_cq)
                    filled = 0
        if filled:
            yield _shuffle(window_cq[:filled], generator, shuffled_cq[:filled])

    def _chunks(self, fragments: Sequence[Fragment]) -> Iterator[Tensor]:
        layout, source = self.stream.layout, self.stream.source
        at_once = chunk_rows(len(layout.card.columns), source.memory_mb)
        with dataset_in_errors(layout.dataset):
            for columns in read_columns(fragments, layout.wanted, source.s3, batch_rows=at_once):
                for error in columns.bad.values():  # the scan has found none: the file changed since
                    raise DataError(error)
                yield self._encoded(columns)

    def _encoded(self, columns: Columns) -> Tensor:
        """Return the requested rows as z, (c, q)."""
        stream, layout, d = self.stream, self.stream.layout, len(self.stream.column_d)
        kept = kept_rows(columns, layout)
        card, columns, groups, n = layout.card, kept.columns, kept.groups, kept.columns.num_rows
        fill_nk = layout.fill_of(groups.name_m, groups.code_n)  # the scan has checked every row
        z_nq = torch.ones(n, d + 1 + stream.bias, dtype=stream.dtype)
        if d == len(card.columns) and self.scaling is None:
            encode_columns(card, fill_nk, columns, stream.source.s3, z_nq[:, :d].numpy())
        else:
            x_nd = torch.from_numpy(encode_columns(card, fill_nk, columns, stream.source.s3)[:, stream.column_d])
            if self.scaling is not None:
                x_nd = self.scaling.columns(x_nd)
            z_nq[:, :d] = x_nd
        y_n = transformed_target(card.target_transform, columns.numbers[card.target])
        if self.scaling is not None:
            z_nq[:, -1] = self.scaling.target(torch.from_numpy(y_n))
        else:
            z_nq[:, -1].numpy()[:] = y_n
        if layout.weights is not None:
            weight_n = torch.from_numpy(layout.weights.of(columns))
            z_nq *= row_factors(weight_n, self.mean_weight_1, stream.loss)[:, None]
        chosen_n = self._chosen(columns)
        return z_nq if chosen_n is None else z_nq[torch.from_numpy(chosen_n)]

    def _chosen(self, columns: Columns) -> NDArray[np.bool_] | None:
        layout = self.stream.layout
        if layout.split is None or (self.without is None and self.within is None):
            return None
        draw_n = draw(row_keys(columns, layout.row_names), layout.split.seed)
        fold_n = fold_of_rows(draw_n, layout.split)
        chosen_n: NDArray[np.bool_] = fold_n == self.within if self.without is None else fold_n != self.without
        return chosen_n


def _shuffle(window_cq: Tensor, generator: torch.Generator, out_cq: Tensor) -> Tensor:
    order_c = torch.randperm(len(window_cq), generator=generator, dtype=torch.int32)
    np.take(window_cq.numpy(), order_c.numpy(), axis=0, out=out_cq.numpy(), mode="clip")
    return out_cq
