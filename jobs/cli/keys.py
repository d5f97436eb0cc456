"""The verbs for the keys of a running server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import JsonOption, ManagementOption
from jobs.cli.output import emit

if TYPE_CHECKING:
    from model_store.deployment.server import Api

keys = typer.Typer(help="The keys of a running server.", no_args_is_help=True)


class Which(StrEnum):
    """The keys that a server makes anew while it runs."""

    INFERENCE = "inference"
    MANAGEMENT = "management"
    ALL = "all"


APIS: dict[Which, list[Api]] = {
    Which.INFERENCE: ["inference"],
    Which.MANAGEMENT: ["management"],
    Which.ALL: ["inference", "management"],
}
KeyFileOption = Annotated[
    Path, typer.Option("--token-file", metavar="PATH", help="The server's key_file.json, or the folder that has it.")
]


@keys.command("rotate")
def rotate(
    token_file: KeyFileOption,
    which: Annotated[Which, typer.Argument(help="The API whose key is replaced.")] = Which.ALL,
    management: ManagementOption = "http://127.0.0.1:8081",
    json: JsonOption = False,
) -> None:
    """Make new keys, which are in the key file then; the old ones are refused from that moment on."""
    from model_store.torchserve.client import key_path
    from model_store.torchserve.management import Management

    apis = APIS[which]
    with Management(management, token_file) as client:
        for api in apis:
            client.rotate_key(api)
    path = key_path(token_file)
    emit(
        {"rotated": apis, "token_file": str(path)},
        f"{path} has a new key for {' and '.join(apis)}; the old one is refused",
        as_json=json,
    )
