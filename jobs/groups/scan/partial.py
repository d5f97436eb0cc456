"""Partial aggregates of groups: they can be merged, split by group, and serialized.

Shapes: n rows · m groups · k raw features, and the target last · h = 1 + folds (0: the rows that only train) ·
f packed moments · v partial sums, several of one group · q columns of z without the ones ·
r reasons to leave rows out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.groups.scan.digits import combine_lacks
from jobs.groups.scan.packed import Codes, Floats, combine
from jobs.groups.scan.rows import Rows, merge_rows

MERGE_AT_GROUPS = 1 << 19  # partials are merged when they have this many groups in total,
MERGE_AT_PARTIALS = 64  # or there are this many of them,
MERGE_AT_BYTES = 1 << 30  # or their moments take so much

Counts = NDArray[np.uint64]


@dataclass(frozen=True)
class Extremes:
    """The rows of each group with the lowest and the highest draw: a small group needs one that validates or trains.

    `draw_m2` are the two draws, `count_m2` the numbers of rows with them, `row_m2q` the encoded rows and targets, and
    their weights last if they have any.
    """

    draw_m2: Floats
    count_m2: Floats
    row_m2q: Floats


@dataclass(frozen=True)
class Partial:
    """Some groups, by name: their moments (m, h, f), bounds of the rows that train, and sums of row hashes.

    `low_mk` and `high_mk` bound the raw features and the target (last) of the rows that train. `hash_m2` are the sums
    of two hashes of every row modulo 2^64, in any order. `failures` are the reasons of groups that can't be trained.
    `rows` are their rows, if they are kept. `lacks_mhf` are the rounding errors of the scatter (None: not known); see
    `digits`. `left_out_mr` counts the rows that are left out, by reason (None: there are none). `count_mh` are the
    numbers of rows, if rows have weights: the sums have those.
    """

    name_m: pa.Array
    moments_mhf: Floats
    low_mk: Floats
    high_mk: Floats
    hash_m2: Counts
    extremes: Extremes | None
    failures: Mapping[str, str]
    rows: Rows | None = None
    lacks_mhf: Floats | None = None
    left_out_mr: NDArray[np.int64] | None = None
    count_mh: Floats | None = None

    @property
    def num_groups(self) -> int:
        return len(self.name_m)

    @property
    def rows_mh(self) -> Floats:
        """The number of rows of each fold, whatever their weights."""
        return self.moments_mhf[:, :, 0] if self.count_mh is None else self.count_mh

    def take(self, index_m: NDArray[np.intp]) -> Partial:
        """Return the groups at `index_m`, in that order, with their failures and without rows."""
        names = self.name_m.take(pa.array(index_m))
        failures = self.failures
        if failures:
            taken = set(pc.filter(names, pc.is_in(names, pa.array(list(failures), pa.large_string()))).to_pylist())
            failures = {name: reason for name, reason in failures.items() if name in taken}
        extremes = self.extremes
        if extremes is not None:
            extremes = Extremes(extremes.draw_m2[index_m], extremes.count_m2[index_m], extremes.row_m2q[index_m])
        return Partial(
            name_m=names,
            moments_mhf=self.moments_mhf[index_m],
            low_mk=self.low_mk[index_m],
            high_mk=self.high_mk[index_m],
            hash_m2=self.hash_m2[index_m],
            extremes=extremes,
            failures=failures,
            lacks_mhf=None if self.lacks_mhf is None else self.lacks_mhf[index_m],
            left_out_mr=None if self.left_out_mr is None else self.left_out_mr[index_m],
            count_mh=None if self.count_mh is None else self.count_mh[index_m],
        )

    def split(self, num_parts: int) -> tuple[Partial, ...]:
        """Return the groups split into `num_parts` by a hash of their name, equal on every machine."""
        if num_parts == 1:
            return (self,)
        part_m = part_of(self.name_m, num_parts)
        order_m = np.argsort(part_m, kind="stable")
        parts = [self.take(at) for at in np.split(order_m, np.searchsorted(part_m[order_m], np.arange(1, num_parts)))]
        if self.rows is not None:
            parts = [replace(each, rows=of) for each, of in zip(parts, self.rows.split(part_m, num_parts), strict=True)]
        return tuple(parts)


class Sums:
    """Partials that are merged as they come, each part separately: a part is small enough for the cache."""

    def __init__(self, num_parts: int, merge_at_bytes: int = MERGE_AT_BYTES) -> None:
        self._pieces: list[list[Partial]] = [[] for _ in range(num_parts)]
        self._merge_at_bytes = merge_at_bytes
        self._num_waiting = self._groups_waiting = self._bytes_waiting = 0

    def add(self, partial: Partial) -> None:
        """Add each group of a partial to its part."""
        for pieces, piece in zip(self._pieces, partial.split(len(self._pieces)), strict=True):
            pieces.append(piece)
        self._num_waiting, self._groups_waiting = self._num_waiting + 1, self._groups_waiting + partial.num_groups
        self._bytes_waiting += partial.moments_mhf.nbytes
        is_many = self._num_waiting >= MERGE_AT_PARTIALS or self._groups_waiting >= MERGE_AT_GROUPS
        if is_many or self._bytes_waiting >= self._merge_at_bytes:
            self._merge()

    def parts(self) -> tuple[Partial, ...]:
        """Return the sums of each part; at least one partial was added."""
        self._merge()
        return tuple(piece for (piece,) in self._pieces)

    def _merge(self) -> None:
        self._pieces = [[merge(pieces)] for pieces in self._pieces]
        self._num_waiting = self._groups_waiting = self._bytes_waiting = 0


def part_of(name_m: pa.Array, num_parts: int) -> NDArray[np.int64]:
    """Return the part of each name, by FNV-1a of its length and its first bytes, one byte position at a time."""
    array = name_m.cast(pa.large_binary())
    offset = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"\0", dtype=np.uint8)
    start, length = offset[:-1], np.diff(offset)
    key = (length.astype(np.uint64) ^ np.uint64(0xCBF29CE484222325)) * np.uint64(0x100000001B3)
    for place in range(int(min(length.max(initial=0), 32))):
        inside = length > place
        byte = np.where(inside, data[np.minimum(start + place, len(data) - 1)], 0).astype(np.uint64)
        key = np.where(inside, (key ^ byte) * np.uint64(0x100000001B3), key)
    key = (key ^ (key >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)  # FNV alone puts short names into few parts
    return ((key >> np.uint64(33)) % np.uint64(num_parts)).astype(np.int64)


def merge(partials: Sequence[Partial]) -> Partial:
    """Return the union of the groups, with the sums over all partials, and their rows."""
    if len(partials) == 1:
        return partials[0]
    names = pa.chunked_array([partial.name_m for partial in partials]).combine_chunks().dictionary_encode()
    code_v: Codes = names.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    m = len(names.dictionary)
    moments_vhf = np.concatenate([partial.moments_mhf for partial in partials])
    order_v = np.argsort(code_v, kind="stable")
    start_m = np.searchsorted(code_v[order_v], np.arange(m))

    def reduce(function: np.ufunc, name: str) -> NDArray[Any]:
        value_vk = np.concatenate([getattr(partial, name) for partial in partials])
        reduced: NDArray[Any] = function.reduceat(value_vk[order_v], start_m, axis=0)
        return reduced

    codes = np.split(code_v, np.cumsum([partial.num_groups for partial in partials[:-1]]))
    return Partial(
        name_m=names.dictionary,
        moments_mhf=np.stack([combine(moments_vhf[:, h], code_v, m) for h in range(moments_vhf.shape[1])], axis=1),
        low_mk=reduce(np.fmin, "low_mk"),
        high_mk=reduce(np.fmax, "high_mk"),
        hash_m2=reduce(np.add, "hash_m2"),
        extremes=merge_extremes([partial.extremes for partial in partials], code_v, m),
        failures=_merge_failures(partials),
        rows=merge_rows([partial.rows for partial in partials], codes),
        lacks_mhf=_merge_lacks(partials, code_v, m),
        left_out_mr=_merge_left_out(partials, codes, m),
        count_mh=reduce(np.add, "rows_mh") if any(p.count_mh is not None for p in partials) else None,
    )


def _merge_left_out(partials: Sequence[Partial], codes: Sequence[Codes], num_groups: int) -> NDArray[np.int64] | None:
    """Return the numbers of rows that were left out of each group, by reason."""
    known = [(partial.left_out_mr, code_m) for partial, code_m in zip(partials, codes, strict=True)]
    present = [(counts_mr, code_m) for counts_mr, code_m in known if counts_mr is not None]
    if not present:
        return None
    sums_mr = np.zeros((num_groups, present[0][0].shape[1]), dtype=np.int64)
    for counts_mr, code_m in present:
        sums_mr[code_m] += counts_mr
    return sums_mr


def _merge_lacks(partials: Sequence[Partial], code_v: Codes, num_groups: int) -> Floats | None:
    """Return the rounding errors of the sums of each group, by fold."""
    known = [partial.lacks_mhf for partial in partials if partial.lacks_mhf is not None]
    if not known:
        return None
    shape = known[0].shape[1:]
    lacks_vhf = np.concatenate(
        [np.zeros((p.num_groups, *shape)) if p.lacks_mhf is None else p.lacks_mhf for p in partials]
    )
    count_vh = np.concatenate([partial.moments_mhf[:, :, 0] for partial in partials])
    folds = range(shape[0])
    return np.stack([combine_lacks(lacks_vhf[:, h], count_vh[:, h], code_v, num_groups) for h in folds], axis=1)


def _merge_failures(partials: Sequence[Partial]) -> dict[str, str]:
    """Return one reason for each failed group, independent of the order of reading: in a file, the first row."""
    reasons: dict[str, str] = {}
    for partial in partials:
        for name, reason in partial.failures.items():
            reasons[name] = min(reason, reasons.get(name, reason), key=lambda text: (len(text), text))
    return reasons


def merge_extremes(extremes: Sequence[Extremes | None], code_v: Codes, num_groups: int) -> Extremes | None:
    """Return the extremes of each group; None if none has any."""
    present = [each for each in extremes if each is not None]
    if not present:
        return None
    draw_v2 = np.concatenate([each.draw_m2 for each in present])
    count_v2 = np.concatenate([each.count_m2 for each in present])
    row_v2q = np.concatenate([each.row_m2q for each in present])
    return extremes_of(draw_v2, count_v2, row_v2q, code_v, num_groups)


def extremes_of_rows(
    draw_n: Floats, row_nq: Floats, code_n: Codes, num_groups: int, weight_n: Floats | None = None
) -> Extremes:
    """Return the rows with the lowest and the highest draw of each group."""
    row_nq = row_nq if weight_n is None else np.column_stack([row_nq, weight_n])
    draw_n2 = np.stack([draw_n, draw_n], axis=1)
    return extremes_of(draw_n2, np.ones_like(draw_n2), np.stack([row_nq, row_nq], axis=1), code_n, num_groups)


def extremes_of(draw_v2: Floats, count_v2: Floats, row_v2q: Floats, code_v: Codes, num_groups: int) -> Extremes:
    """Return the lowest and the highest draw of each group over candidates (t, 2); counts of equal draws are summed."""
    draws, counts, rows = [], [], []
    for side, sign in ((0, 1.0), (1, -1.0)):
        best_m = np.full(num_groups, np.inf)
        np.fmin.at(best_m, code_v, sign * draw_v2[:, side])
        hits_v = sign * draw_v2[:, side] == best_m[code_v]
        counts.append(np.bincount(code_v[hits_v], weights=count_v2[hits_v, side], minlength=num_groups))
        row_mq = np.zeros((num_groups, row_v2q.shape[2]))
        row_mq[code_v[hits_v]] = row_v2q[hits_v, side]
        draws.append(sign * best_m)
        rows.append(row_mq)
    return Extremes(np.stack(draws, 1), np.stack(counts, 1), np.stack(rows, 1))
