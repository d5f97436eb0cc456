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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import ArchiveFormatError
from ..rows.model_card import ModelCard
from .fleet import FactTable, Fleet, TextColumn
from .stack import ServedStack, StatisticsOf
from .text_table import NameIndex, TextTable

FORMAT = 1
INDEX, FACTS = "index.safetensors", "facts.safetensors"
METADATA = "gridline"
PAGE_BYTES = 4096
Header = Mapping[str, object]
Array = NDArray[np.generic]


def stack_file(number: int) -> str:
    """Return the name of the file of a stack."""
    return f"stack-{number}.safetensors"


def write(fleet: Fleet, folder: Path) -> tuple[str, ...]:
    """Write the fleet into `folder`; return the names of the files."""
    for number, stack in enumerate(fleet.stacks):
        _save(_arrays_of(stack), {"card": stack.card.to_json()}, folder / stack_file(number))
    index = _arrays_of_text(fleet.index.names, "names") | {
        "slots": fleet.index.slots,
        "stack": fleet.stack_n,
        "row": fleet.row_n,
    }
    identity = {"collection": fleet.collection, "version": fleet.version, "committed_at": fleet.committed_at}
    _save(index, identity, folder / INDEX)
    _save(_arrays_of_facts(fleet.facts), {}, folder / FACTS)
    return (INDEX, FACTS, *(stack_file(number) for number in range(len(fleet.stacks))))


def read(folder: Path) -> Fleet:
    """Return the fleet in `folder`, memory-mapped. Raises ArchiveFormatError if the files are not those of a fleet."""
    try:
        arrays, header = _load(folder / INDEX)
        return Fleet(
            str(header["collection"]),
            int(str(header["version"])),
            NameIndex(_text(arrays, "names"), arrays["slots"]),
            arrays["stack"],
            arrays["row"],
            tuple(_stack(folder / stack_file(number)) for number in range(int(arrays["stack"].max()) + 1)),
            _facts(_load(folder / FACTS)[0]),
            str(header.get("committed_at", "")),
        )
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as exc:
        raise ArchiveFormatError(f"the archive in {folder.name!r} is not complete: {exc}; package it again") from exc


def _save(arrays: dict[str, Array], header: Header, path: Path) -> None:
    text = json.dumps({"format": FORMAT, **header}, sort_keys=True, ensure_ascii=False)
    save_file(arrays, path, {METADATA: text})


def _load(path: Path) -> tuple[dict[str, NDArray[Any]], Header]:
    """Return the arrays of a file, memory-mapped: SafeTensors maps tensors of PyTorch, and copies arrays."""
    with safe_open(path, framework="pt") as file:
        header: dict[str, object] = json.loads((file.metadata() or {})[METADATA])
        if int(str(header["format"])) > FORMAT:
            raise ArchiveFormatError(f"{path.name} has format {header['format']}: serve it with a newer gridline")
        arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 - not a mapping
    for array in arrays.values():  # reading a byte of each page maps the pages before the first request
        array.ravel().view(np.uint8)[::PAGE_BYTES].sum()
    return arrays, header


def _arrays_of(stack: ServedStack) -> dict[str, Array]:
    bias = {} if stack.bias_m is None else {"bias": stack.bias_m}
    return {"weight": stack.weight_md, **bias, **(stack.statistics.named() if stack.statistics else {})}


def _stack(path: Path) -> ServedStack:
    arrays, header = _load(path)
    statistics = StatisticsOf.of_named(arrays) if "fill" in arrays else None
    return ServedStack(ModelCard.from_json(str(header["card"])), arrays["weight"], arrays.get("bias"), statistics)


def _arrays_of_facts(facts: FactTable) -> dict[str, Array]:
    arrays: dict[str, Array] = {f"number.{name}": column for name, column in facts.numbers.items()}
    for name, column in facts.texts.items():
        arrays |= _arrays_of_text(column.texts, f"text.{name}")
        arrays[f"text.{name}.code"] = column.code_n
    return arrays


def _facts(arrays: Mapping[str, NDArray[Any]]) -> FactTable:
    numbers = {key.removeprefix("number."): column for key, column in arrays.items() if key.startswith("number.")}
    coded = [key.removesuffix(".code").removeprefix("text.") for key in arrays if key.endswith(".code")]
    texts = {name: TextColumn(arrays[f"text.{name}.code"], _text(arrays, f"text.{name}")) for name in coded}
    return FactTable(numbers, texts)


def _arrays_of_text(text: TextTable, name: str) -> dict[str, Array]:
    return {f"{name}.utf8": text.utf8, f"{name}.end": text.end_n}


def _text(arrays: Mapping[str, NDArray[Any]], name: str) -> TextTable:
    return TextTable(arrays[f"{name}.utf8"], arrays[f"{name}.end"])
