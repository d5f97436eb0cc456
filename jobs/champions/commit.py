"""The commit of a job: batches of challengers, of any size, against the very version that the commit follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.champions.selection import Comparison
from model_store.ledger.champion_table import CHAMPION_SCHEMA
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Draft, Version

COMPARISON = CHAMPION_SCHEMA.get_field_index("comparison")


class Comparisons(Protocol):
    """How each challenger of a batch stood; `json` is what a promoted row says of it."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: int, /) -> Comparison: ...
    def promoted(self) -> np.ndarray: ...
    def json(self) -> pa.Array: ...


class Batch(Protocol):
    """Challengers that are offered together."""

    def decide(self, head: Version | None, champions: pa.Table) -> Comparisons:
        """Return how the challengers stand against the champions of `head` (None, and an empty table, at first)."""

    def rows(self, promoted_m: np.ndarray) -> pa.Table:
        """Return the promoted challengers' rows for the champion table, their blobs stored.

        It is called again when another commit, or gc, came in between: then the blobs are stored again.
        """


def commit_better(
    ledger: Ledger, collection: str, batches: Sequence[Batch], run_id: str
) -> tuple[Version | None, tuple[Comparisons, ...]]:
    """Commit the challengers that are promoted, beside the champions that stay.

    Returns the new version, or None where nothing was promoted, and the comparisons of each batch, made against the
    version that the new one follows.
    """
    decided: list[Comparisons] = []

    def propose(head: Version | None) -> Draft | None:
        champions = head.table() if head else CHAMPION_SCHEMA.empty_table()
        decided[:] = [batch.decide(head, champions) for batch in batches]
        num_promoted = sum(int(comparisons.promoted().sum()) for comparisons in decided)
        if num_promoted == 0:
            return None
        promoted = [
            _promoted(batch, comparisons)
            for batch, comparisons in zip(batches, decided, strict=True)
            if comparisons.promoted().any()
        ]
        names = pa.chunked_array([table["dataset"].combine_chunks() for table in promoted], pa.string())
        staying = champions.filter(pc.invert(pc.is_in(champions["dataset"], value_set=names.combine_chunks())))
        num_kept = sum(map(len, decided)) - num_promoted
        return Draft(
            pa.concat_tables([staying, *promoted]), run_id, "train", f"{num_promoted} promoted, {num_kept} kept"
        )

    return ledger.transact(collection, propose), tuple(decided)


def _promoted(batch: Batch, comparisons: Comparisons) -> pa.Table:
    promoted_m = comparisons.promoted()
    texts = comparisons.json().filter(pa.array(promoted_m))
    return batch.rows(promoted_m).set_column(COMPARISON, CHAMPION_SCHEMA.field(COMPARISON), texts)
