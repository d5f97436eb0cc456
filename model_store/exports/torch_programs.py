"""Models as programs of `torch.export`: one for each model card, which needs torch alone."""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import torch
from torch.export import Dim, ExportedProgram
from torch.export import export as torch_export
from torch.export import save as torch_save

from handler.models.fleet import Fleet
from handler.rows.model_card import ModelCard
from model_store.exports.cards import card_document, write_card
from model_store.exports.models_of_card import ModelsOfCard, models_of_stack
from model_store.exports.torch_rows import MISSING, UNSEEN, CardProgram


def write_programs(fleet: Fleet, out_dir: Path) -> list[Path]:
    """Write the programs of a fleet, and return the files.

    `stack-<i>.pt2` predicts for the models with the card `stack-<i>.card.json`, which says what it takes; `index.json`
    has the file and the row of each dataset.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    files = []
    for number, stack in enumerate(fleet.stacks):
        program, card = out_dir / f"stack-{number}.pt2", out_dir / f"stack-{number}.card.json"
        program.write_bytes(_bytes_of(_exported(models_of_stack(stack))))
        document = card_document(stack.card) | {"inputs": _inputs(stack.card)}
        write_card(card, document)
        files += [program, card]
    index = out_dir / "index.json"
    places = ((fleet.index.names[at], fleet.place(at)) for at in range(fleet.num_datasets))
    entries = {name: {"file": f"stack-{place.stack}.pt2", "row": place.row} for name, place in places}
    index.write_bytes(orjson.dumps(entries, option=orjson.OPT_INDENT_2))
    return [*files, index]


def _inputs(card: ModelCard) -> dict[str, object]:
    """Return what the columns of the inputs `numbers` and `codes` are."""
    return {
        "numbers": [feature.name for feature in card.features if feature.kind != "categorical"],
        "codes": {feature.name: list(feature.levels) for feature in card.features if feature.kind == "categorical"},
        "code_of_missing": MISSING,
        "code_of_unseen": UNSEEN,
    }


def _exported(models: ModelsOfCard) -> ExportedProgram:
    """Return the program for any number of rows, without what it says of this machine: where its source lies."""
    num_codes = sum(feature.kind == "categorical" for feature in models.card.features)
    numbers = torch.zeros(2, len(models.card.features) - num_codes, dtype=torch.float64)
    codes, rows = torch.zeros(2, num_codes, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    n = Dim("n", min=0)
    program = torch_export(CardProgram(models).eval(), (numbers, codes, rows), dynamic_shapes=({0: n}, {0: n}, {0: n}))
    for node in program.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack"):
            node.meta.pop(key, None)
    return program


def _bytes_of(program: ExportedProgram) -> bytes:
    buffer = io.BytesIO()
    torch_save(program, buffer)
    return buffer.getvalue()
