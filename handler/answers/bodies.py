"""The bytes of an answer: JSON, or tensors of the Open Inference protocol, in JSON or as bytes after it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..requests.binary_tensors import SIZE, TEXTS, bytes_of
from ..requests.payload import Output, Query

Json = dict[str, Any]

REASONS = "interval_reasons"  # why an interval is missing: texts, empty where none is; unasked only if one is
NO_BOUNDS = (None, None)  # of a row of a tensor: NumPy and the clients of the protocol read null as NaN
ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class Body:
    """The body of an answer, its type, and headers that tell how to read it."""

    content: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def to_json(value: Json) -> bytes:
    """Return the value as JSON in UTF-8; half a surrogate pair, invalid in UTF-8, becomes a JSON escape.

    Raises ValueError for a number that is not finite.
    """
    return ENCODER.encode(value).encode(errors="backslashreplace")


def tensors_body(query: Query, answer: Mapping[str, Any]) -> Body:
    """Return the answer in the Open Inference protocol: the outputs that the query names, the rest as parameters."""
    there = _outputs(answer)
    has_reasons = "reasons" in answer.get("intervals", {})
    wanted = query.outputs or tuple(Output(name) for name in there if name != REASONS or has_reasons)
    tails, outputs = [], []
    for output in wanted:
        tensor = there[output.name]
        if query.binary if output.binary is None else output.binary:
            content = bytes_of(tensor.pop("data"), tensor["datatype"])
            tensor["parameters"] = {SIZE: len(content)}
            tails.append(content)
        outputs.append(tensor)
    model = answer["model"]
    parameters = {"dataset": model["dataset"]} | ({"warnings": answer["warnings"]} if "warnings" in answer else {})
    document = {"model_name": model["collection"], "model_version": str(model["version"])}
    document |= {} if query.id is None else {"id": query.id}
    content = to_json(document | {"outputs": outputs, "parameters": parameters})
    if not tails:
        return Body(content)
    headers = {"Inference-Header-Content-Length": str(len(content))}
    return Body(b"".join([content, *tails]), "application/octet-stream", headers)


def _outputs(answer: Mapping[str, Any]) -> dict[str, Json]:
    """Return the tensors of an answer by name."""
    num_rows = len(answer["predictions"])
    tensors = {"predictions": _tensor("predictions", [num_rows], "FP64", answer["predictions"])}
    for name in ("confidence", "prediction"):
        if "intervals" in answer:
            flat = [bound for bounds in answer["intervals"][name] for bound in bounds or NO_BOUNDS]
            tensors[f"{name}_interval"] = _tensor(f"{name}_interval", [num_rows, 2], "FP64", flat)
    if "intervals" in answer:
        reasons = [reason or "" for reason in answer["intervals"].get("reasons", [None] * num_rows)]
        tensors[REASONS] = _tensor(REASONS, [num_rows], TEXTS, reasons)
    for name in ("extrapolations", "explanations"):
        if name in answer:
            tensors[name] = _tensor(name, [num_rows], TEXTS, [json.dumps(value) for value in answer[name]])
    return tensors


def _tensor(name: str, shape: list[int], datatype: str, data: Sequence[object]) -> Json:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}
