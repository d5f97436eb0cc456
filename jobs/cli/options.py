"""The arguments and options that several verbs have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The job's configuration, a YAML file.")]
CollectionArgument = Annotated[str, typer.Argument(metavar="COLLECTION", help="The name of the job.")]
AnyCollectionArgument = Annotated[
    str | None, typer.Argument(metavar="[COLLECTION]", help="The name of the job; list: default all collections.")
]
DatasetsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[DATASET]...", help="Only these; default: all of the collection.")
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URI",
        help="s3://BUCKET/PREFIX or a folder; default: the configuration, GRIDLINE_STORE, or gridline-store.",
    ),
]
VersionOption = Annotated[int | None, typer.Option("--version", min=1, help="A version; default: the newest.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="The Ray cluster: ray://HOST:PORT, HOST:PORT, auto, or local. Default: RAY_ADDRESS, or local.",
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="End with exit code 2 if a dataset can't be used; default: the others train.")
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="PATH", help="TorchServe's key_file.json, or the folder that holds it."),
]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Worker processes; one serves all models.")]
ManagementOption = Annotated[str, typer.Option("--management", metavar="URL", help="The server's management address.")]
