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

from jobs.groups.scan.chunks import encode_chunk, partial_of
from jobs.groups.scan.layout import Layout
from jobs.groups.scan.packed import Codes, Floats
from jobs.groups.scan.partial import Partial, merge, part_of
from jobs.groups.scan.scan import chunk_rows, no_groups
from jobs.sources.columns import Fragment
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


def gather(*groups: GroupRows) -> GroupRows:
    """Return the union of the groups, with all their rows."""
    if len(groups) == 1:
        return groups[0]
    whole = merge([each.partial for each in groups])
    places = [pc.index_in(each.name_m, whole.name_m).to_numpy(zero_copy_only=False) for each in groups]
    return GroupRows(
        partial=whole,
        code_n=np.concatenate([at_m.astype(np.int64)[each.code_n] for at_m, each in zip(places, groups, strict=True)]),
        key_n=np.concatenate([each.key_n for each in groups]),
        x_nd=np.concatenate([each.x_nd for each in groups]),
        y_n=np.concatenate([each.y_n for each in groups]),
    )


def scan_rows(
    fragments: Sequence[Fragment], layout: Layout, s3: S3Settings, memory_mb: int, num_parts: int
) -> tuple[int | GroupRows, ...]:
    """Return the number of rows, then the groups with their rows, in `num_parts` parts; see `scan`."""
    d = len(layout.card.columns)
    no_rows = GroupRows(no_groups(layout), np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros((0, d)), np.zeros(0))
    groups, num_rows = [no_rows], 0
    with dataset_in_errors(layout.dataset):
        for columns in prefetched(iterate(fragments, layout.wanted, s3, batch_rows=chunk_rows(d, memory_mb))):
            chunk = encode_chunk(columns, layout, s3)
            partial = partial_of(chunk, layout)
            groups.append(GroupRows(partial, chunk.groups.code_n, chunk.key_n, chunk.x_nd, chunk.y_n))
            num_rows += columns.num_rows
    return (num_rows, *gather(*groups).split(num_parts))
