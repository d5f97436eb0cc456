"""Commit the better ones of challengers and champions, compared with the version that the commit follows.

Shapes: t trials (the challengers of all batches).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.champions.batch import Batch
from jobs.champions.comparison import Comparisons
from jobs.champions.withdrawn import without_withdrawn
from model_store.ledger.champion_table import CHAMPION_SCHEMA, table_blobs
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Draft, Version
from model_store.objects.blobs import lost_blobs


def commit_better(
    ledger: Ledger,
    collection: str,
    batches: Sequence[Batch],
    run_id: str,
    trained_at: str,
    phase: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
) -> tuple[Version | None, tuple[Comparisons, ...]]:
    """Commit the challengers that are promoted, beside the champions that stay.

    Returns the new version, or None if nothing was promoted, and the comparisons of each batch, made against the
    version that the new one follows. The comparisons are a `phase` of the job, "compare".
    """
    decided: list[Comparisons] = []

    def propose(head: Version | None) -> Draft | None:
        with phase("compare"):
            champions = head.table() if head else CHAMPION_SCHEMA.empty_table()
            decided[:] = _decide(ledger, batches, champions)
            if head is not None and head.withdrawals:
                decided[:] = without_withdrawn(ledger, head, batches, decided)
        num_promoted = sum(int(comparisons.promoted_m.sum()) for comparisons in decided)
        if num_promoted == 0:
            return None
        promoted = [
            batch.rows(ledger, comparisons, run_id, trained_at)
            for batch, comparisons in zip(batches, decided, strict=True)
            if comparisons.promoted_m.any()
        ]
        names = pa.chunked_array([table["dataset"].combine_chunks() for table in promoted], pa.string())
        staying = champions.filter(pc.invert(pc.is_in(champions["dataset"], value_set=names.combine_chunks())))
        note = f"{num_promoted} promoted, {sum(map(len, decided)) - num_promoted} unchanged"
        return Draft(pa.concat_tables([staying, *promoted]), run_id, "train", note)

    return ledger.transact(collection, propose), tuple(decided)


def _decide(ledger: Ledger, batches: Sequence[Batch], champions: pa.Table) -> list[Comparisons]:
    """Return the comparisons of each batch; the champions of all batches, and their blobs, are found at once."""
    names = pa.chunked_array([batch.challengers.name_m for batch in batches], pa.string()).combine_chunks()
    place_t = pc.index_in(names, value_set=champions["dataset"].combine_chunks())
    lost = lost_blobs(ledger.objects, table_blobs(champions.take(place_t.drop_null())))
    ends = np.cumsum([0, *(batch.challengers.num_datasets for batch in batches)]).tolist()
    return [
        batch.decide(ledger, champions, place_t[start:stop], lost)
        for batch, start, stop in zip(batches, ends[:-1], ends[1:], strict=True)
    ]
