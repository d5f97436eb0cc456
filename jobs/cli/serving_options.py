"""The options of the verbs for TorchServe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TokenFileOption = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="PATH", help="TorchServe's key_file.json, or the folder that holds it."),
]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Worker processes; one serves all models.")]
