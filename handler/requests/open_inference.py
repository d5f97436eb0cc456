"""Read a request of the Open Inference protocol (KServe V2): tensors, in JSON or as bytes after it, become columns.

Source: https://github.com/kserve/open-inference-protocol, "Inference Request JSON Object", and its extension for
binary data. `tritonclient` and KServe's client send what is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import PayloadError
from ..wording import kind, shown
from .binary_tensors import NUMBERS, SIZE, TEXTS, values_of
from .instances import Table
from .limits import check_tensors, check_width
from .options import flag, most_columns, parameters_of, query_of, refuse_unknown
from .payload import Output, Query, Request

DATATYPES = frozenset(NUMBERS) | {TEXTS}
MATRIX = "instances"
KEYS = frozenset({"name", "shape", "datatype", "data", "parameters"})
DOCUMENT_KEYS = frozenset({"inputs", "outputs", "id", "parameters", "model_name", "model_version"})
BINARY = "binary_data_output"
HINTS = frozenset({"priority", "timeout", "content_type", "headers"})  # of clients: without effect here
SEQUENCE = frozenset({"sequence_id", "sequence_start", "sequence_end"})
OF_INTERVALS = ("confidence_interval", "prediction_interval", "interval_reasons")
OUTPUTS = ("predictions", *OF_INTERVALS, "extrapolations", "explanations")
ASKED_BY = {"extrapolations": "extrapolation", "explanations": "explanations"}  # the option of an output


def is_tensors(inputs: object) -> bool:
    """Return whether `inputs` are tensors of this protocol: not the rows or the columns that MLflow sends."""
    if not isinstance(inputs, list) or not inputs or not isinstance(inputs[0], dict):
        return False
    first = inputs[0]
    return "datatype" in first or ("name" in first and first.keys() <= KEYS)


def read(document: Mapping[str, object], request: Request, tail: memoryview, most_features: int) -> Query:
    """Return the query: named tensors in `inputs`, options in `parameters`. Raises PayloadError.

    `tail` has the bytes after the JSON; no model has more than `most_features`.
    """
    refuse_unknown(document, DOCUMENT_KEYS)
    parameters = parameters_of(document, beside=HINTS | SEQUENCE | {BINARY})
    if not SEQUENCE.isdisjoint(parameters):
        raise PayloadError("a sequence has no meaning: predictions have no state; leave 'sequence_id' out")
    outputs = _outputs(document.get("outputs"))
    named = {output.name for output in outputs or ()}
    options = {**parameters, **{option: True for output, option in ASKED_BY.items() if output in named}}
    most = most_columns(most_features, options, request)
    query = query_of(table_of(document["inputs"], tail, most), "inputs", options, document, request)
    if query.interval is None and not named.isdisjoint(OF_INTERVALS):
        raise PayloadError(
            "'outputs' names an interval, and 'parameters' has no level: add 'interval', such as 0.95, to 'parameters'"
        )
    return replace(query, outputs=outputs, binary=flag(BINARY, parameters.get(BINARY, False)))


def _outputs(value: object) -> tuple[Output, ...] | None:
    """Return the outputs that a request names; None or [] asks for all."""
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise PayloadError("'outputs' is not a list of objects: give [{'name': 'predictions'}], or leave it out")
    outputs = tuple(map(_output, value[: len(OUTPUTS) + 1]))
    if len({output.name for output in outputs}) != len(value):
        raise PayloadError("'outputs' names an output twice: give each once")
    return outputs


def _output(value: Mapping[str, object]) -> Output:
    refuse_unknown(value, frozenset({"name", "parameters"}))
    name = value.get("name")
    if not isinstance(name, str) or name not in OUTPUTS:
        raise PayloadError(f"output {shown(name)} is not known: the outputs are {list(OUTPUTS)}")
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise PayloadError(f"output '{name}': 'parameters' is {kind(parameters)}: give an object")
    if "classification" in parameters:
        raise PayloadError(f"output '{name}' is a number, not a class: leave 'classification' out (class_count=0)")
    _refuse_shared_memory(parameters, f"output '{name}'")
    binary = parameters.get("binary_data")
    return Output(name, None if binary is None else flag("binary_data", binary))


def _refuse_shared_memory(parameters: Mapping[str, object], what: str) -> None:
    if any(name.startswith("shared_memory") for name in parameters):
        raise PayloadError(f"{what}: shared memory is not served: send and take the values (no set_shared_memory)")


def table_of(inputs: object, tail: memoryview, most_features: int) -> Table:
    """Return the columns of these tensors: one tensor [n] or [n, 1] for each feature, or one alone of [n, k].

    Raises PayloadError for a tensor that is not valid, tensors of different lengths, and more of them, or more columns,
    than one for each of `most_features` and the dataset.
    """
    if not isinstance(inputs, list) or not inputs or not all(isinstance(tensor, dict) for tensor in inputs):
        raise PayloadError("'inputs' is not a list of tensors: give a list of {name, shape, datatype, data}")
    check_width(len(inputs), most_features, "'inputs' has", "tensors")
    names = [_name(tensor) for tensor in inputs]
    if len(set(names)) != len(names):
        raise PayloadError("'inputs' names a tensor twice: give each feature one tensor")
    shapes = [_shape(tensor, name) for tensor, name in zip(inputs, names, strict=True)]
    if len({shape[0] for shape in shapes}) != 1:
        raise PayloadError("the tensors of 'inputs' have different numbers of rows: give all as many")
    check_tensors(*shapes[0], len(shapes))
    values, start = [], 0
    for tensor, name, shape in zip(inputs, names, shapes, strict=True):
        size = _binary_size(tensor, name, len(tail) - start)
        values.append(_values(tensor, name, shape, None if size is None else tail[start : start + size]))
        start += size or 0
    if start != len(tail):
        raise PayloadError(
            f"{len(tail) - start} bytes after the tensors belong to none: give each tensor its '{SIZE}', and the "
            "length of the JSON in the header Inference-Header-Content-Length"
        )
    return _table(names, values, shapes, most_features)


def _table(
    names: Sequence[str], values: Sequence[Sequence[object]], shapes: Sequence[tuple[int, int]], most_features: int
) -> Table:
    num_rows, width = shapes[0]
    if len(names) == 1 and (names[0] == MATRIX or width > 1):
        check_width(width, most_features, f"tensor {shown(names[0])} has", "columns")
        return Table(None, tuple(values[0][column::width] for column in range(width)), num_rows)
    wide = next((name for name, shape in zip(names, shapes, strict=True) if shape[1] != 1), None)
    if wide is not None:
        raise PayloadError(
            f"tensor {shown(wide)} has several columns: give [n] for each feature, or one {MATRIX!r} of [n, k]"
        )
    return Table(tuple(names), tuple(values), num_rows)


def _name(tensor: dict[str, object]) -> str:
    unknown = sorted(set(tensor) - KEYS)
    if unknown:
        raise PayloadError(f"a tensor has an unknown key {shown(unknown[0])}: the keys are {sorted(KEYS)}")
    name = tensor.get("name")
    if not isinstance(name, str):
        raise PayloadError("a tensor of 'inputs' has no name: give the name of its feature")
    return name


def _shape(tensor: dict[str, object], name: str) -> tuple[int, int]:
    """Return (n, columns). Raises PayloadError for a shape of another rank, or a datatype that is not read."""
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise PayloadError(f"tensor {shown(name)}: 'datatype' is not one of {sorted(DATATYPES)}")
    shape = tensor.get("shape")
    sizes = shape if isinstance(shape, list) else []
    if len(sizes) not in {1, 2} or not all(type(size) is int and size > 0 for size in sizes):
        raise PayloadError(f"tensor {shown(name)}: 'shape' is not [n] or [n, k], of whole numbers above 0")
    return sizes[0], sizes[1] if len(sizes) == 2 else 1


def _binary_size(tensor: Mapping[str, object], name: str, left: int) -> int | None:
    """Return the bytes of a tensor after the JSON, or None if its elements are in `data`."""
    parameters = tensor.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise PayloadError(f"tensor {shown(name)}: 'parameters' is {kind(parameters)}: give an object")
    _refuse_shared_memory(parameters, f"tensor {shown(name)}")
    size = parameters.get(SIZE)
    if size is None or tensor.get("data") is not None:
        return None
    if type(size) is not int or not 0 <= size <= left:
        raise PayloadError(
            f"tensor {shown(name)}: '{SIZE}' is {shown(size)}, and {left} bytes are left after the JSON: give the "
            "JSON's length in Inference-Header-Content-Length, or send 'data' (tritonclient: binary_data=False)"
        )
    return size


def _values(
    tensor: Mapping[str, object], name: str, shape: tuple[int, int], content: memoryview | None
) -> Sequence[object]:
    """Return the elements in row-major order; `data` may be flat or nested by rows."""
    if content is not None:
        return values_of(content, str(tensor["datatype"]), shape[0] * shape[1], name)
    data = tensor.get("data")
    if not isinstance(data, list):
        raise PayloadError(f"tensor {shown(name)}: 'data' is not a list")
    flat = [value for row in data for value in row] if data and all(isinstance(row, list) for row in data) else data
    if len(flat) != shape[0] * shape[1]:
        raise PayloadError(f"tensor {shown(name)}: 'data' has {len(flat)} values, and 'shape' says otherwise")
    return flat
