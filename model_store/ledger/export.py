"""Export models to a folder that needs only safetensors and torch, not gridline.

Shapes: m models · d encoded columns.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from handler.models.stack import Stack
from model_store.errors import ExportFolderError, StoreRefusedError
from model_store.ledger.champion_columns import row_blobs
from model_store.ledger.checkpoints import read_stack
from model_store.ledger.versions import Version
from model_store.objects.blobs import BlobRef, read_blob

LOADER = '''"""Load a model of this folder: python load.py DATASET; needs torch and safetensors only."""
import json, pathlib, sys
import safetensors.torch, torch

def load(dataset, folder=pathlib.Path(__file__).parent):
    entry = json.loads((folder / "index.json").read_text())[dataset]
    tensors = safetensors.torch.load_file(folder / entry["file"])
    state = {name: tensor[entry["row"]:entry["row"] + 1] for name, tensor in tensors.items()}
    linear = torch.nn.Linear(state["weight"].shape[1], 1, bias="bias" in state, dtype=torch.float64)
    linear.load_state_dict(state)
    return linear  # its input: the encoded columns, in the order of the model card

if __name__ == "__main__":
    print(load(sys.argv[1]).state_dict())
'''


def export(version: Version, dataset: str | None, out_dir: Path) -> list[Path]:
    """Write the models of a version, or of one dataset, and return the files.

    `stack-<i>.safetensors` has `weight` [m, d] and `bias` [m] of the models with the card `stack-<i>.card.json`.
    `index.json` has the file and row of each dataset, and its row of the champion table. `load.py` loads one model.
    Raises ExportFolderError if the folder is not empty, and StoreRefusedError if it can't be written.
    """
    rows = version.table().to_pylist() if dataset is None else [version.find(dataset)]
    stacks = _by_card(version, rows)
    try:
        if out_dir.exists() and any(out_dir.iterdir()):
            raise ExportFolderError(f"folder '{out_dir}' is not empty: give a new one, so that nothing is overwritten")
        out_dir.mkdir(parents=True, exist_ok=True)
        return _write(out_dir, stacks)
    except (OSError, SafetensorError) as exc:
        cause = getattr(exc, "strerror", None) or " ".join(str(exc).split())
        raise StoreRefusedError(
            str(out_dir.absolute()), "", f"{cause}: check the path, its owner and the disk"
        ) from exc


def _write(out_dir: Path, stacks: list[tuple[Stack, list[Mapping[str, Any]]]]) -> list[Path]:
    index: dict[str, Mapping[str, Any]] = {}
    files: list[Path] = []
    for number, (stack, members) in enumerate(stacks):
        name = f"stack-{number}"
        files += _write_stack(out_dir, name, stack)
        for at, row in enumerate(members):
            index[row["dataset"]] = {"file": f"{name}.safetensors", "row": at, "champion": row}
    for name, text in (("index.json", json.dumps(index, indent=1, ensure_ascii=False)), ("load.py", LOADER)):
        (out_dir / name).write_text(text)
        files.append(out_dir / name)
    return files


def _write_stack(out_dir: Path, name: str, stack: Stack) -> list[Path]:
    tensors = {"weight": stack.weight_md} | ({} if stack.bias_m is None else {"bias": stack.bias_m})
    card = json.loads(stack.card.to_json()) | {"columns": stack.card.columns}
    save_file(tensors, out_dir / f"{name}.safetensors")
    (out_dir / f"{name}.card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False))
    return [out_dir / f"{name}.safetensors", out_dir / f"{name}.card.json"]


def _by_card(version: Version, rows: list[Mapping[str, Any]]) -> list[tuple[Stack, list[Mapping[str, Any]]]]:
    """Return one stack for each distinct model card, with the rows of its models in order."""
    stacks: dict[BlobRef, Stack] = {}
    members: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        ref = next(row_blobs(row))
        if ref not in stacks:
            stacks[ref] = read_stack(read_blob(version.objects, ref), name=ref.key)
        members[stacks[ref].card.to_json()].append(row)
    return [(_gather(stacks, group), group) for group in members.values()]


def _gather(stacks: Mapping[BlobRef, Stack], rows: list[Mapping[str, Any]]) -> Stack:
    picked = [(stacks[next(row_blobs(row))], row["row"]) for row in rows]
    card = picked[0][0].card
    weight_md = torch.stack([stack.weight_md[at] for stack, at in picked])
    bias_m = torch.stack([stack.bias_m[at] for stack, at in picked if stack.bias_m is not None]) if card.bias else None
    return Stack(card, weight_md, bias_m)
