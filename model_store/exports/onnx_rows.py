"""A model card as nodes of an ONNX graph: raw columns become predictions, as `handler` computes them.

Where `handler` refuses a value, a row has no prediction: `Answered.valid` is false there.

Shapes: m models · d encoded columns · k raw features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from onnx import TensorProto

from handler.rows.date_parts import DatePart
from handler.rows.encoding import Floats
from handler.rows.model_card import Feature
from handler.rows.transforms import DOMAINS
from model_store.exports.encoded_columns import Block, Levels, Number, blocks
from model_store.exports.level_places import LONGEST_DAYS, REFUSED, places
from model_store.exports.models_of_card import ModelsOfCard
from model_store.exports.onnx_functions import Dates, is_finite, raw_target, transformed
from model_store.exports.onnx_graph import Graph


@dataclass(frozen=True)
class Answered:
    """The names of the prediction of each row, and of whether the row has one."""

    prediction: str
    valid: str


def answer(graph: Graph, models: ModelsOfCard, inputs: Mapping[str, str], row: str | None) -> Answered:
    """Add the nodes that predict by models with one card.

    `inputs` has the name of the column of each feature, `row` is that of the model of each row, or None for the first.
    """
    card, arrays = models.card, ModelsInGraph(graph, models, row)
    columns = {
        feature.name: RawColumn(graph, feature, inputs[feature.name], arrays.fill(k))
        for k, feature in enumerate(card.features)
    }
    every = blocks(card)
    terms = [arrays.bias(), _zeros(graph, inputs[card.features[0].name])]
    if alone := [block for block in every if not block.levels]:
        products = [_product(graph, block, columns) for block in alone]
        terms.append(arrays.weighted(products, [block.first for block in alone]))
    for block in every:
        if block.levels:
            chosen = arrays.weight_of(block, [columns[levels.feature].place(levels) for levels, _ in block.levels])
            terms.append(graph.add("Mul", chosen, _product(graph, block, columns)) if block.numbers else chosen)
    prediction = raw_target(graph, card.target_transform, graph.sum_of(terms))
    valid = [flag for column in columns.values() for flag in column.valid]
    return Answered(prediction, graph.all_of([*valid, is_finite(graph, prediction)]))


def _zeros(graph: Graph, column: str) -> str:
    """Return a zero for each row, which gives a sum of constants the shape of the rows."""
    return graph.add("Expand", 0.0, graph.add("Shape", column))


def _product(graph: Graph, block: Block, columns: Mapping[str, RawColumn]) -> str:
    """Return the product of the numbers of a block, which has at least one."""
    powers = [
        number if power == 1 else graph.add("Pow", number, float(power))
        for number, power in ((columns[source.feature].number(source), power) for source, power in block.numbers)
    ]
    product = powers[0]
    for power in powers[1:]:
        product = graph.add("Mul", product, power)
    return product


class RawColumn:
    """The values of a feature in a graph; `valid` are the flags of the rows whose value `handler` takes."""

    def __init__(self, graph: Graph, feature: Feature, value: str, fill: str) -> None:
        self._graph, self._feature, self._value = graph, feature, value
        self._places: dict[Levels, str] = {}
        self.valid: list[str] = []
        if feature.kind == "categorical":
            return
        self._missing = graph.add("IsNaN", value)
        raw = graph.add("Where", self._missing, fill, value) if feature.fills else value
        self.valid.append(is_finite(graph, raw))
        if feature.kind == "datetime":
            self.valid.append(graph.add("Less", graph.add("Abs", raw), LONGEST_DAYS))
            self._days = graph.add("Where", graph.all_of(self.valid), raw, 0.0)  # a part of NaN would be no index
            self._dates = Dates(graph, self._days)
        else:
            if feature.transform is not None:
                domain = DOMAINS[feature.transform]
                self.valid.append(graph.add("GreaterOrEqual" if domain.closed else "Greater", raw, domain.lower))
            self._number = transformed(graph, feature.transform, raw)

    def number(self, source: Number) -> str:
        """Return a column of numbers."""
        if source.take == "number":
            return self._number
        if source.take == "missing":
            return self._graph.add("Cast", self._missing, to=TensorProto.DOUBLE)
        if source.take == "days":
            return self._graph.add("Sub", self._days, self._feature.origin)
        name, _, function = source.take.partition(".")
        part = cast(DatePart, name)
        return self._dates.circle(part, function) if function else self._dates.part(part)

    def place(self, levels: Levels) -> str:
        """Return the place of each row's level among the columns; negative for none."""
        if levels not in self._places:
            known = places(self._feature, levels)
            if self._feature.kind == "categorical":
                text = {"": known.missing} | {str(level): place for level, place in known.of_level.items()}
                place = self._graph.look_up_text(self._value, text, known.unseen)
            else:
                whole = {int(level): place for level, place in known.of_level.items()}
                place = self._graph.look_up_number(self._dates.whole(cast(DatePart, levels.take)), whole, known.unseen)
            self._places[levels] = place
            self.valid.append(self._graph.add("Not", self._graph.add("Equal", place, REFUSED)))
        return self._places[levels]


class ModelsInGraph:
    """The arrays of models in a graph, taken by the row of each model, or those of the first model."""

    def __init__(self, graph: Graph, models: ModelsOfCard, row: str | None) -> None:
        self._graph, self._models, self._row = graph, models, row
        self._num_columns = models.weight_md.shape[1]
        padded = models.padded_weight_md
        self._padded_weights = (padded[:1] if row is None else padded).ravel()

    def bias(self) -> str:
        return self._of_model(self._models.bias_m)

    def fill(self, k: int) -> str:
        """Return what replaces a missing value of feature k; NaN if nothing does."""
        return self._of_model(self._models.fill_mk[:, k])

    def _of_model(self, values_m: Floats) -> str:
        """Return the value of each row's model."""
        if self._row is None:
            return self._graph.constant(values_m[0])
        if np.isnan(values_m).all() or (values_m == values_m[0]).all():
            return self._graph.constant(values_m[0])
        return self._graph.add("Gather", values_m, self._row)

    def weighted(self, products: Sequence[str], columns: Sequence[int]) -> str:
        """Return the sum of encoded columns, each times its weight."""
        graph, weight_md = self._graph, self._models.weight_md[:, list(columns)]
        x = graph.add("Concat", *(graph.add("Unsqueeze", product, [1]) for product in products), axis=1)
        if self._row is None:
            return graph.add("MatMul", x, weight_md[0])
        return graph.add("ReduceSum", graph.add("Mul", x, graph.add("Gather", weight_md, self._row)), [1], keepdims=0)

    def weight_of(self, block: Block, chosen: Sequence[str]) -> str:
        """Return the weight of the column that the places `chosen` of levels have in a block; 0 if they have none."""
        graph, d = self._graph, self._num_columns
        has_column = graph.all_of([graph.add("GreaterOrEqual", place, 0) for place in chosen])
        column = graph.constant(block.first)
        for place, (_, stride) in zip(chosen, block.levels, strict=True):
            column = graph.add("Add", column, graph.add("Mul", place, stride))
        column = graph.add("Where", has_column, column, d)
        if self._row is not None:
            column = graph.add("Add", graph.add("Mul", self._row, d + 1), column)
        return graph.add("Gather", self._padded_weights, column)
