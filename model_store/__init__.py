"""The ledger of versions, checkpoints and archives, over a folder or over S3.

    from model_store import open_ledger
    open_ledger("s3://models/plants").champion("plants", "plant_richness").linear()     # an nn.Linear

Importing the package loads nothing heavy: torch, pyarrow and boto3 come when something needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_store.ledger.ledger import Ledger as Ledger
    from model_store.ledger.ledger import open_ledger as open_ledger

__all__ = ["Ledger", "open_ledger"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'model_store' has no attribute {name!r}")
    from model_store.ledger import ledger

    return getattr(ledger, name)
