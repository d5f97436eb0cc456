"""Which challengers are models that a rollback has withdrawn: these are not promoted again.

A challenger is the same model again if it has the same bytes, or if the same recipe and hyperparameters trained it on
the same rows: training may end with other bytes on another machine. So it is another model as soon as the data, or the
part of the configuration that its numbers depend on, has changed. Of several rollbacks that concern a model, the newest
decides: one that restored it allows it.

Shapes: m datasets · t trials (the challengers that would be promoted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.champions.batch import Batch
from jobs.champions.comparison import Comparisons, Withdrawn
from model_store.errors import CorruptObjectError, MissingObjectError, StoreError
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from model_store.ledger.withdrawals import Withdrawal

Bools = NDArray[np.bool_]


def without_withdrawn(
    ledger: Ledger, head: Version, batches: Sequence[Batch], decided: Sequence[Comparisons]
) -> list[Comparisons]:
    """Return the comparisons, in which no withdrawn model is promoted.

    Old versions are read only if a challenger would be promoted, and of these only the shards with its dataset.
    Raises StoreError if they can't be read.
    """
    if not any(comparisons.promoted_m.any() for comparisons in decided):
        return list(decided)
    offered = pa.concat_tables(
        [
            batch.identities().filter(pa.array(comparisons.promoted_m))
            for batch, comparisons in zip(batches, decided, strict=True)
            if comparisons.promoted_m.any()
        ]
    )
    reason_t, reasons = _reasons(ledger, head, offered)
    found, start = [], 0
    for batch, comparisons in zip(batches, decided, strict=True):
        reason_m = np.full(len(comparisons), -1, np.int32)
        stop = start + int(comparisons.promoted_m.sum())
        reason_m[comparisons.promoted_m] = reason_t[start:stop]
        start = stop
        withdrawn = Withdrawn(reason_m, reasons, batch.challengers.name_m, head.collection)
        found.append(replace(comparisons, withdrawn=withdrawn))
    return found


def _reasons(ledger: Ledger, head: Version, offered: pa.Table) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return for each challenger the place of the reason why it is withdrawn, or -1; and the reasons."""
    reason_t = np.full(len(offered), -1, np.int32)
    allowed_t = np.zeros(len(offered), np.bool_)
    reasons: list[str] = []
    for withdrawal in reversed(head.withdrawals):
        open_t = (reason_t < 0) & ~allowed_t & _concerned(withdrawal, offered)
        allowed_t |= _found(ledger, head, withdrawal, withdrawal.rollback, offered, open_t)
        for number in reversed(withdrawal.versions):
            open_t &= (reason_t < 0) & ~allowed_t
            found_t = _found(ledger, head, withdrawal, number, offered, open_t)
            if found_t.any():
                reason_t[found_t] = len(reasons)
                reasons.append(f"version {number}'s model was withdrawn by {withdrawal.words}")
    return reason_t, tuple(reasons)


def _concerned(withdrawal: Withdrawal, offered: pa.Table) -> Bools:
    if not withdrawal.datasets and not withdrawal.released:
        return np.ones(len(offered), np.bool_)
    return np.array([withdrawal.concerns(name) for name in offered["dataset"].to_pylist()], np.bool_)


def _found(
    ledger: Ledger, head: Version, withdrawal: Withdrawal, number: int, offered: pa.Table, open_t: Bools
) -> Bools:
    """Return which of the challengers at `open_t` are champions of a version."""
    found_t = np.zeros(len(offered), np.bool_)
    if not open_t.any() or number in head.lost:
        return found_t
    looked_for = offered.filter(pa.array(open_t))
    try:
        rows = ledger.version(head.collection, number).rows_of(looked_for["dataset"].to_pylist())
    except (MissingObjectError, CorruptObjectError) as exc:
        raise StoreError(
            f"the models that {withdrawal.words} has withdrawn can't be told: {exc}; "
            f"'gridline models release {head.collection}' lifts this for all of them"
        ) from exc
    found_t[open_t] = _same(looked_for, rows)
    return found_t


def _same(looked_for: pa.Table, rows: pa.Table) -> Bools:
    """Return which models are those of the rows: by their bytes, or by how they were made.

    Rows from before the column `recipe` tell the engine, the loss and the epoch.
    """
    place = pc.index_in(looked_for["dataset"].combine_chunks(), value_set=rows["dataset"].combine_chunks())
    known = rows.take(place)  # a row of nulls where there is none

    def same(*columns: str) -> Bools:
        equal = [pc.equal(looked_for[name], known[name]).fill_null(False) for name in columns]
        columns_t: Bools = np.all([np.asarray(each, dtype=np.bool_) for each in equal], axis=0)
        return columns_t

    old = same("engine", "loss", "epoch") & np.asarray(known["recipe"].is_null(), dtype=np.bool_)
    made = same("fingerprint", "hyperparameters") & (same("recipe") | old)
    return same("checkpoint", "row") | made
