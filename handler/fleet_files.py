"""The files of a fleet: safetensors, which workers memory-map, so that all workers of a machine share the pages.

    index.safetensors       the names and their hash table; for each dataset its stack and row
    stack-<i>.safetensors   the models that share a model card, and their statistics
    facts.safetensors       the training facts of each dataset

Each file has one entry of metadata, `gridline`, with JSON: the order of several entries would vary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import ArchiveFormatError
from .fleet import FactTable, Fleet, TextColumn
from .model_card import ModelCard
from .scoring import ServedStack
from .stack import Stack, Statistics
from .text_table import NameIndex, TextTable

FORMAT = 1
INDEX, FACTS = "index.safetensors", "facts.safetensors"
METADATA = "gridline"
PAGE_BYTES = 4096
Header = Mapping[str, object]


def stack_file(number: int) -> str:
    """Return the name of the file of a stack."""
    return f"stack-{number}.safetensors"


def write(fleet: Fleet, stacks: tuple[Stack, ...], folder: Path) -> tuple[str, ...]:
    """Write the fleet with the models of `stacks` into `folder`; return the names of the files."""
    for number, stack in enumerate(stacks):
        _save(_tensors_of(stack), {"card": stack.card.to_json()}, folder / stack_file(number))
    _save(_tensors_of_index(fleet), {"collection": fleet.collection, "version": fleet.version}, folder / INDEX)
    _save(_tensors_of_facts(fleet.facts), {}, folder / FACTS)
    return (INDEX, FACTS, *(stack_file(number) for number in range(len(stacks))))


def read(folder: Path) -> Fleet:
    """Return the fleet in `folder`, memory-mapped. Raises ArchiveFormatError if the files are not those of a fleet."""
    try:
        tensors, header = _load(folder / INDEX)
        stacks = tuple(_stack(folder / stack_file(i)) for i in range(int(tensors["stack"].max()) + 1))
        index = NameIndex(_text(tensors, "names"), tensors["slots"].numpy())
        fleet = Fleet(
            str(header["collection"]),
            int(str(header["version"])),
            index,
            tensors["stack"].numpy(),
            tensors["row"].numpy(),
            tuple(ServedStack.of(stack) for stack in stacks),
            _facts(_load(folder / FACTS)[0]),
        )
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as exc:
        raise ArchiveFormatError(f"the archive in {folder.name!r} is not complete: {exc}; package it again") from exc
    return fleet


def _save(tensors: Mapping[str, Tensor], header: Header, path: Path) -> None:
    text = json.dumps({"format": FORMAT, **header}, sort_keys=True, ensure_ascii=False)
    save_file(dict(tensors), path, {METADATA: text})


def _load(path: Path) -> tuple[dict[str, Tensor], Header]:
    with safe_open(path, framework="pt") as file:
        header: dict[str, object] = json.loads((file.metadata() or {})[METADATA])
        if int(str(header["format"])) > FORMAT:
            raise ArchiveFormatError(f"{path.name} has format {header['format']}: serve it with a newer gridline")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    for tensor in tensors.values():
        _touch(tensor)
    return tensors, header


def _touch(tensor: Tensor) -> None:
    """Read a byte of each page of a mapped tensor: the pages are then mapped before the first request."""
    tensor.flatten().view(torch.uint8)[::PAGE_BYTES].sum()


def _tensors_of(stack: Stack) -> dict[str, Tensor]:
    tensors = {"weight": stack.weight_md} | ({} if stack.bias_m is None else {"bias": stack.bias_m})
    tensors |= {} if stack.statistics is None else stack.statistics.named()
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _stack(path: Path) -> Stack:
    tensors, header = _load(path)
    statistics = Statistics.of_named(tensors) if "fill" in tensors else None
    return Stack(ModelCard.from_json(str(header["card"])), tensors["weight"], tensors.get("bias"), statistics)


def _tensors_of_index(fleet: Fleet) -> dict[str, Tensor]:
    return {
        **_tensors_of_text(fleet.index.names, "names"),
        "slots": torch.from_numpy(fleet.index.slots),
        "stack": torch.from_numpy(fleet.stack_n),
        "row": torch.from_numpy(fleet.row_n),
    }


def _tensors_of_facts(facts: FactTable) -> dict[str, Tensor]:
    tensors = {f"number.{name}": torch.from_numpy(column) for name, column in facts.numbers.items()}
    for name, column in facts.texts.items():
        tensors |= _tensors_of_text(column.texts, f"text.{name}")
        tensors[f"text.{name}.code"] = torch.from_numpy(column.code_n)
    return tensors


def _facts(tensors: Mapping[str, Tensor]) -> FactTable:
    numbers = {
        key.removeprefix("number."): column.numpy() for key, column in tensors.items() if key.startswith("number.")
    }
    coded = [key.removesuffix(".code").removeprefix("text.") for key in tensors if key.endswith(".code")]
    texts = {name: TextColumn(tensors[f"text.{name}.code"].numpy(), _text(tensors, f"text.{name}")) for name in coded}
    return FactTable(numbers, texts)


def _tensors_of_text(text: TextTable, name: str) -> dict[str, Tensor]:
    return {f"{name}.utf8": torch.from_numpy(text.utf8.copy()), f"{name}.end": torch.from_numpy(text.end_n)}


def _text(tensors: Mapping[str, Tensor], name: str) -> TextTable:
    return TextTable(tensors[f"{name}.utf8"].numpy(), tensors[f"{name}.end"].numpy())
