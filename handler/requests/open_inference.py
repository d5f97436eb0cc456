"""The tensors of the Open Inference protocol (KServe V2), as columns.

Source: https://github.com/kserve/open-inference-protocol, "Inference Request JSON Object".
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import PayloadError
from ..wording import shown
from .instances import Table
from .limits import check_width

NUMBERS = frozenset(
    {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64", "BYTES"}
)
MATRIX = "instances"
KEYS = frozenset({"name", "shape", "datatype", "data", "parameters"})


def table_of(inputs: object, most_features: int) -> Table:
    """Return the columns of these tensors: one tensor [n] or [n, 1] for each feature, or one `instances` [n, k].

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
    values = [_values(tensor, name, shape) for tensor, name, shape in zip(inputs, names, shapes, strict=True)]
    num_rows = shapes[0][0]
    if names == [MATRIX]:
        width = shapes[0][1]
        check_width(width, most_features, f"tensor {MATRIX!r} has", "columns")
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
    """Return (n, columns). Raises PayloadError for a shape of another rank, or a datatype without numbers."""
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in NUMBERS:
        raise PayloadError(f"tensor {shown(name)}: 'datatype' is not one of {sorted(NUMBERS)}")
    shape = tensor.get("shape")
    sizes = shape if isinstance(shape, list) else []
    if len(sizes) not in {1, 2} or not all(type(size) is int and size > 0 for size in sizes):
        raise PayloadError(f"tensor {shown(name)}: 'shape' is not [n] or [n, k], of whole numbers above 0")
    return sizes[0], sizes[1] if len(sizes) == 2 else 1


def _values(tensor: dict[str, object], name: str, shape: tuple[int, int]) -> Sequence[object]:
    """Return the elements in row-major order; `data` may be flat or nested by rows."""
    data = tensor.get("data")
    if not isinstance(data, list):
        raise PayloadError(f"tensor {shown(name)}: 'data' is not a list")
    flat = [value for row in data for value in row] if data and all(isinstance(row, list) for row in data) else data
    if len(flat) != shape[0] * shape[1]:
        raise PayloadError(f"tensor {shown(name)}: 'data' has {len(flat)} values, and 'shape' says otherwise")
    return flat
