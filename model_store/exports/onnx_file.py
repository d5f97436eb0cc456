"""Models as one ONNX graph: of one dataset, or of a collection with the dataset's name as an input.

Shapes: m models · n rows of the index, one for each dataset, sorted by name.
"""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from handler.models.fleet import Fleet
from handler.rows.model_card import Feature
from model_store.errors import ExportFormatError
from model_store.exports.models_of_card import ModelsOfCard, joined, models_of_stack
from model_store.exports.onnx_graph import Graph, column_input
from model_store.exports.onnx_rows import answer

FILE = "model.onnx"
DATASET, PREDICTION = "dataset", "prediction"
LARGEST_BYTES = 2**31 - 2**24  # a protobuf message is smaller than 2 GiB
MOST_CARDS = 1000


@dataclass(frozen=True)
class Served:
    """The models of a graph: those of each way to encode rows, and of each dataset the number of these and its row."""

    models: tuple[ModelsOfCard, ...]
    number_n: NDArray[np.int64]
    row_n: NDArray[np.int64]


def write_onnx(fleet: Fleet, out_dir: Path, *, by_dataset: bool) -> list[Path]:
    """Write `model.onnx`, and return it; without `by_dataset` the fleet has one dataset, and the graph no such input.

    Raises ExportFormatError if one graph can't hold the models.
    """
    _require_size(fleet)
    features = _features(fleet)
    model = _model(fleet, features, by_dataset=by_dataset)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / FILE).write_bytes(model.SerializeToString(deterministic=True))
    return [out_dir / FILE]


def _require_size(fleet: Fleet) -> None:
    size_bytes = fleet.index.names.utf8.nbytes + 40 * fleet.num_datasets
    for stack in fleet.stacks:
        m, d = stack.weight_md.shape
        size_bytes += 8 * m * (2 * d + 2 + len(stack.card.features))
    if size_bytes > LARGEST_BYTES:
        raise ExportFormatError(
            f"the graph of version {fleet.version} of '{fleet.collection}' would have {size_bytes / 2**30:.1f} GiB, "
            f"and an ONNX file has at most 2: {_remedy(fleet)}"
        )


def _remedy(fleet: Fleet) -> str:
    first = shlex.quote(fleet.first)
    return (
        f"export one dataset, such as: gridline models export {fleet.collection} {first} --format onnx, or all of them "
        "with another --format"
    )


def _features(fleet: Fleet) -> dict[str, Feature]:
    """Return the features of all cards by name. Raises ExportFormatError if one has two kinds."""
    features: dict[str, Feature] = {}
    for stack in fleet.stacks:
        for feature in stack.card.features:
            other = features.setdefault(feature.name, feature)
            if other.kind != feature.kind:
                one, another = sorted([other.kind, feature.kind])
                raise ExportFormatError(
                    f"feature {feature.name!r} is {one} in some datasets of '{fleet.collection}' and {another} in "
                    f"others, and an input of an ONNX graph has one type: {_remedy(fleet)}"
                )
    return features


def input_names(features: Iterable[str], reserved: Sequence[str]) -> dict[str, str]:
    """Return the name of the input of each feature: its own, or with underscores if the graph has another use of it."""
    names = {feature: feature for feature in features if feature and feature not in reserved}
    for feature in features:
        name = feature
        while feature not in names:
            name += "_"
            if name not in {*reserved, *names, *features}:
                names[feature] = name
    return names


def _served(fleet: Fleet) -> Served:
    """Return the models of the graph; cards that encode rows alike are one. Raises ExportFormatError for too many."""
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for number, stack in enumerate(fleet.stacks):
        alike[replace(stack.card, target="", group_by=(), group_prefix="").to_json()].append(number)
    if len(alike) > MOST_CARDS:
        raise ExportFormatError(
            f"the datasets of '{fleet.collection}' have {len(alike)} different rules for their rows, and one graph "
            f"has at most {MOST_CARDS}: {_remedy(fleet)}"
        )
    number_n, row_n = np.zeros(len(fleet.stack_n), np.int64), fleet.row_n.astype(np.int64)
    for at, numbers in enumerate(alike.values()):
        start = 0
        for number in numbers:
            mine_n = fleet.stack_n == number
            number_n[mine_n] = at
            row_n[mine_n] += start
            start += len(fleet.stacks[number].weight_md)
    models = tuple(joined([models_of_stack(fleet.stacks[number]) for number in numbers]) for numbers in alike.values())
    return Served(models, number_n, row_n)


def _model(fleet: Fleet, features: Mapping[str, Feature], *, by_dataset: bool) -> ModelProto:
    reserved = [DATASET, PREDICTION] if by_dataset else [PREDICTION]
    names = input_names(features, reserved)
    inputs = [column_input(names[name], is_text=one.kind == "categorical") for name, one in features.items()]
    graph, served = Graph([*names.values(), *reserved]), _served(fleet)
    if by_dataset:
        inputs.insert(0, column_input(DATASET, is_text=True))
        result = _of_datasets(graph, fleet, served, names)
    else:
        answered = answer(graph, served.models[0], names, None)
        result = graph.add("Where", answered.valid, answered.prediction, np.nan)
    return graph.model(inputs, result, PREDICTION, _metadata(fleet, features, names, by_dataset=by_dataset))


def _of_datasets(graph: Graph, fleet: Fleet, served: Served, names: Mapping[str, str]) -> str:
    """Add the nodes that find the model of each row by the dataset's name; a row of another name has no prediction."""
    positions = {fleet.index.names[position]: position for position in range(fleet.num_datasets)}
    position = graph.look_up_text(DATASET, positions, fleet.num_datasets)
    number = graph.add("Gather", np.append(served.number_n, -1), position)
    row = graph.add("Gather", np.append(served.row_n, 0), position)
    result = graph.constant(np.nan)
    for at, models in enumerate(served.models):
        is_mine = graph.add("Equal", number, at)
        answered = answer(graph, models, names, graph.add("Where", is_mine, row, 0))
        result = graph.add("Where", graph.add("And", is_mine, answered.valid), answered.prediction, result)
    return result


def _metadata(
    fleet: Fleet, features: Mapping[str, Feature], names: Mapping[str, str], *, by_dataset: bool
) -> dict[str, str]:
    cards = [json.loads(stack.card.to_json()) | {"columns": list(stack.card.columns)} for stack in fleet.stacks]
    inputs = {names[name]: {"feature": name, "kind": feature.kind} for name, feature in features.items()}
    return {
        "collection": fleet.collection,
        "version": str(fleet.version),
        "cards": json.dumps(cards, ensure_ascii=False),
        "inputs": json.dumps(inputs, ensure_ascii=False),
    } | ({} if by_dataset else {"dataset": fleet.first})
