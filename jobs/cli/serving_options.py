"""The options of the verbs for TorchServe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from model_store.torchserve.keys import KeyFile

TokenFileOption = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="PATH", help="TorchServe's key_file.json, or the folder that holds it."),
]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Worker processes; one serves all models.")]


def key_file(token_file: Path | None) -> KeyFile | None:
    """Return the key file, or None if TorchServe runs without keys."""
    from model_store.torchserve.keys import KeyFile

    return None if token_file is None else KeyFile(token_file)
