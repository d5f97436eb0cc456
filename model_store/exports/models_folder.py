"""Models as safetensors and JSON, with a program in NumPy that predicts, and one that loads an `nn.Linear`.

Shapes: m models · k raw features.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from safetensors.numpy import save_file

from handler.models.fleet import Fleet
from handler.models.stack import ServedStack
from model_store.exports.cards import card_document, write_card
from model_store.exports.models_of_card import models_of_stack
from model_store.ledger.versions import Version

PREDICT = Path(__file__).with_name("predict.py")
LOADER = '''"""Load a model of this folder: python load.py DATASET; needs torch and safetensors only."""
import json, pathlib, sys
import safetensors.torch, torch

def load(dataset, folder=pathlib.Path(__file__).parent):
    entry = json.loads((folder / "index.json").read_text("utf-8"))[dataset]
    tensors = safetensors.torch.load_file(folder / entry["file"])
    state = {name: tensor[entry["row"]:entry["row"] + 1] for name, tensor in tensors.items()}
    linear = torch.nn.Linear(state["weight"].shape[1], 1, bias="bias" in state, dtype=torch.float64)
    linear.load_state_dict(state)
    return linear  # its input: the encoded columns, in the order of the model card

if __name__ == "__main__":
    print(load(sys.argv[1]).state_dict())
'''


def write_models(fleet: Fleet, version: Version, dataset: str | None, out_dir: Path) -> list[Path]:
    """Write the models of a fleet, which are all of a version or those of one dataset, and return the files.

    `stack-<i>.safetensors` has `weight` [m, d] and `bias` [m] of the models with the card `stack-<i>.card.json`, and
    `stack-<i>.statistics.safetensors` their other arrays: `fill` [m, k], and what training stored for serving.
    `index.json` has the files and the row of each dataset, and its row of the champion table. `predict.py` and
    `load.py` read the folder.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    files = [file for number, stack in enumerate(fleet.stacks) for file in _write_stack(out_dir, number, stack)]
    index = out_dir / "index.json"
    with index.open("wb") as file:
        file.write(b"{")
        file.writelines(_entries(fleet, _champions(version, dataset)))
        file.write(b"\n}\n")
    (out_dir / "load.py").write_text(LOADER, "utf-8")
    (out_dir / "predict.py").write_bytes(PREDICT.read_bytes())
    return [*files, index, out_dir / "load.py", out_dir / "predict.py"]


def _champions(version: Version, dataset: str | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of the champion table, in the order of the datasets, without holding them all as objects."""
    if dataset is not None:
        yield dict(version.find(dataset))
        return
    for batch in version.table().to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _entries(fleet: Fleet, champions: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the lines of the index; a number that JSON can't write is null."""
    for position, champion in enumerate(champions):
        place = fleet.place(position)
        weights, statistics, card = stack_files(place.stack)
        entry = {"file": weights, "files": [weights, statistics], "card": card, "row": place.row, "champion": champion}
        name = orjson.dumps(fleet.index.names[position])
        yield (b",\n" if position else b"\n") + name + b": " + orjson.dumps(entry)


def stack_files(number: int) -> tuple[str, str, str]:
    """Return the names of the files of a stack: weights, statistics, and card."""
    return f"stack-{number}.safetensors", f"stack-{number}.statistics.safetensors", f"stack-{number}.card.json"


def _write_stack(out_dir: Path, number: int, stack: ServedStack) -> list[Path]:
    weights, statistics, card = (out_dir / name for name in stack_files(number))
    write_card(card, card_document(stack.card))
    arrays = {"weight": stack.weight_md} | ({} if stack.bias_m is None else {"bias": stack.bias_m})
    others = {"fill": models_of_stack(stack).fill_mk} if stack.statistics is None else stack.statistics.named()
    for file, named in ((weights, arrays), (statistics, others)):
        save_file({name: np.ascontiguousarray(array) for name, array in named.items()}, file)
        file.chmod(card.stat().st_mode)  # safetensors lets only the owner read
    return [weights, statistics, card]
