"""The encoded rows of groups: split into parts by the name of the group, and joined again in a canonical order.

Minibatches need the rows themselves. All rows of a group are sent to its part, and sorted there in their canonical
order, so the result does not depend on the files and the order of reading.

Shapes: n rows · m groups · d encoded columns, one for every level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.groups.scan.blocks import encode_block, partial_of
from jobs.groups.scan.layout_types import Layout
from jobs.groups.scan.packed import Codes, Floats
from jobs.groups.scan.partial import Partial, merge, part_of
from jobs.groups.scan.scan import ScanSummary, block_rows, no_groups
from jobs.sources.columns import Fragment
from jobs.sources.dataset import wanted_columns
from jobs.sources.reading import iterate, prefetched
from jobs.sources.resolved import dataset_in_errors
from jobs.sources.row_keys import Keys, canonical_order
from model_store.objects.s3_settings import S3Settings


@dataclass(frozen=True)
class GroupRows:
    """Some groups with their partial aggregates and rows: `code_n` is the group of a row, `key_n` its hash."""

    partial: Partial
    code_n: Codes
    key_n: Keys
    x_nd: Floats
    y_n: Floats

    @property
    def name_m(self) -> pa.Array:
        return self.partial.name_m

    def split(self, num_parts: int) -> tuple[GroupRows, ...]:
        """Return the groups split as by `Partial.split`, each with its rows."""
        part_m = part_of(self.partial.name_m, num_parts)
        order_m = np.argsort(part_m, kind="stable")
        first_m = np.searchsorted(part_m[order_m], part_m[order_m])
        within_m = np.empty(len(order_m), dtype=np.int64)
        within_m[order_m] = np.arange(len(order_m)) - first_m
        part_n = part_m[self.code_n]
        order_n = np.argsort(part_n, kind="stable")
        ends = np.searchsorted(part_n[order_n], np.arange(num_parts + 1))
        rows = [order_n[ends[at] : ends[at + 1]] for at in range(num_parts)]
        return tuple(
            GroupRows(partial, within_m[self.code_n[at]], self.key_n[at], self.x_nd[at], self.y_n[at])
            for partial, at in zip(self.partial.split(num_parts), rows, strict=True)
        )

    def ordered(self) -> GroupRows:
        """Return the same rows, sorted by group and canonical order."""
        order_n = canonical_order(self.key_n, self.code_n)
        return GroupRows(self.partial, self.code_n[order_n], self.key_n[order_n], self.x_nd[order_n], self.y_n[order_n])


def gather(*parts: GroupRows) -> GroupRows:
    """Return the union of the groups, with all their rows."""
    if len(parts) == 1:
        return parts[0]
    whole = merge([part.partial for part in parts])
    places = [pc.index_in(part.partial.name_m, whole.name_m).to_numpy(zero_copy_only=False) for part in parts]
    return GroupRows(
        partial=whole,
        code_n=np.concatenate([place_m.astype(np.int64)[p.code_n] for place_m, p in zip(places, parts, strict=True)]),
        key_n=np.concatenate([part.key_n for part in parts]),
        x_nd=np.concatenate([part.x_nd for part in parts]),
        y_n=np.concatenate([part.y_n for part in parts]),
    )


def scan_rows(
    fragments: Sequence[Fragment], layout: Layout, s3: S3Settings, memory_mb: int, num_parts: int
) -> tuple[ScanSummary | GroupRows, ...]:
    """Return a summary, then the groups of the fragments, with their rows, in `num_parts` parts; see `scan`."""
    wanted = wanted_columns(layout.card.features, layout.card.target, layout.group_by)
    at_once = block_rows(len(layout.card.columns), memory_mb)
    blocks, num_rows = [_no_rows(layout)], 0
    with dataset_in_errors(layout.dataset):
        for columns in prefetched(iterate(fragments, wanted, s3, batch_rows=at_once)):
            block = encode_block(columns, layout, s3)
            partial = partial_of(block, columns, layout)
            blocks.append(GroupRows(partial, block.code_n, block.key_n, block.x_nd, block.y_n))
            num_rows += columns.num_rows
    return (ScanSummary(num_rows, len(blocks) - 1), *gather(*blocks).split(num_parts))


def _no_rows(layout: Layout) -> GroupRows:
    return GroupRows(
        partial=no_groups(layout),
        code_n=np.zeros(0, dtype=np.int64),
        key_n=np.zeros(0, dtype=np.uint64),
        x_nd=np.zeros((0, len(layout.card.columns))),
        y_n=np.zeros(0),
    )
