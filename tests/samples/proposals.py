"""What a writer in a test proposes to commit; needs no torch, so that many processes can start at once."""

from __future__ import annotations

from typing import Any

from model_store.ledger.champion_table import rows_to_table
from model_store.ledger.ledger import Propose
from model_store.ledger.versions import Draft, Version


def lowest_of_each(rows: list[dict[str, Any]], run_id: str = "run") -> Propose:
    """Return a proposal that keeps, of each dataset, the row with the lower score, and nothing if none is better."""

    def propose(head: Version | None) -> Draft | None:
        champions = {row["dataset"]: row for row in (head.table().to_pylist() if head else [])}
        better = [
            row for row in rows if row["dataset"] not in champions or row["score"] < champions[row["dataset"]]["score"]
        ]
        if not better:
            return None
        merged = champions | {row["dataset"]: row for row in better}
        return Draft(rows_to_table(merged.values()), run_id)

    return propose
