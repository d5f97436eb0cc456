"""Build an ONNX graph node by node: each call adds a node, and returns the name of its output."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET, OPSET_ML, IR_VERSION = 17, 2, 8  # of 2022: each runtime since then reads them
ML = "ai.onnx.ml"


class Graph:
    """A graph in the making. Its own names begin with a text with which no input does."""

    def __init__(self, inputs: Collection[str]) -> None:
        self._prefix = "_"
        while any(name.startswith(self._prefix) for name in inputs):
            self._prefix += "_"
        self._nodes: list[NodeProto] = []
        self._constants: dict[bytes, tuple[str, TensorProto]] = {}

    def constant(self, value: Any) -> str:
        """Return a constant: floats as float64, whole numbers as int64; equal ones are one."""
        array = np.asarray(value)
        array = np.ascontiguousarray(array, np.float64 if array.dtype.kind == "f" else array.dtype).reshape(array.shape)
        key = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode() + array.tobytes()).digest()
        if key not in self._constants:
            name = f"{self._prefix}c{len(self._constants)}"
            self._constants[key] = (name, numpy_helper.from_array(array, name))
        return self._constants[key][0]

    def add(self, kind: str, *inputs: Any, domain: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its output. An input that is not a name becomes a constant."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = f"{self._prefix}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, names, [output], domain=domain, **attributes))
        return output

    def all_of(self, flags: Sequence[str]) -> str:
        """Return where all flags hold; there is at least one."""
        held = flags[0]
        for flag in flags[1:]:
            held = self.add("And", held, flag)
        return held

    def sum_of(self, terms: Sequence[str]) -> str:
        """Return the sum; there is at least one term."""
        total = terms[0]
        for term in terms[1:]:
            total = self.add("Add", total, term)
        return total

    def look_up_text(self, text: str, value_of: dict[str, int], default: int) -> str:
        """Return the whole number of each text, in constant time."""
        return self.add(
            "LabelEncoder",
            text,
            domain=ML,
            keys_strings=list(value_of) or [""],
            values_int64s=list(value_of.values()) or [default],
            default_int64=default,
        )

    def look_up_number(self, number: str, value_of: dict[int, int], default: int) -> str:
        """Return the whole number of each whole number."""
        return self.add(
            "LabelEncoder",
            number,
            domain=ML,
            keys_int64s=list(value_of) or [0],
            values_int64s=list(value_of.values()) or [default],
            default_int64=default,
        )

    def model(self, inputs: Sequence[ValueInfoProto], result: str, output: str, metadata: dict[str, str]) -> ModelProto:
        """Return the model whose output is `result`, under the name `output`."""
        self._nodes.append(helper.make_node("Identity", [result], [output]))
        graph = helper.make_graph(
            self._nodes,
            "gridline",
            list(inputs),
            [helper.make_tensor_value_info(output, TensorProto.DOUBLE, ["rows"])],
            [tensor for _, tensor in self._constants.values()],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, OPSET_ML)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="gridline")
        for key, value in sorted(metadata.items()):
            model.metadata_props.add(key=key, value=value)
        return model


def column_input(name: str, *, is_text: bool) -> ValueInfoProto:
    """Return an input with a value for each row: texts, or float64."""
    return helper.make_tensor_value_info(name, TensorProto.STRING if is_text else TensorProto.DOUBLE, ["rows"])
