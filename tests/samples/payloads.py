"""Generated requests to the collection `stores`: valid, nearly valid and hostile, each with the status it must get."""

from __future__ import annotations

import gzip
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from handler.models.stack import Stack
from tests.samples.fleets import sample_stores

OK, BAD, UNKNOWN, UNSUPPORTED = 200, 400, 404, 415
LEVELS = ("blue", "green", "red")
MODELS = sample_stores()

numbers = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)
positive = st.floats(0, 1e6)


TENSORS, INFLATES = "inference-header-content-length", "content-encoding"


@dataclass(frozen=True)
class Payload:
    """A body, its type, the statuses that are right for it, where it is valid the predictions, and other headers."""

    body: bytes
    content_type: str
    statuses: frozenset[int]
    predictions: tuple[float, ...] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode(errors="surrogatepass")


def prediction(dataset: str, instance: dict[str, Any]) -> float:
    """Return the prediction by the formula: an oracle that shares no code with the handler."""
    stack = MODELS[dataset]
    weight = stack.weight_md[0].tolist()
    bias = 0.0 if stack.bias_m is None else float(stack.bias_m[0])
    if dataset == "bare":
        return weight[0] * math.sqrt(float(instance["area"]))
    if dataset == "east":
        shifts = {"green": weight[1], "red": weight[2]}
        return weight[0] * float(instance["area"]) + shifts.get(str(instance["color"]), 0.0) + bias
    depth = _mean_depth(stack) if instance["depth"] is None else float(instance["depth"])
    return weight[0] * float(instance["area"]) + weight[1] * math.log1p(depth) + bias


def _mean_depth(stack: Stack) -> float:
    assert stack.statistics is not None
    return float(stack.statistics.fill_mk[0, 1])


def instance_of(dataset: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a valid instance of a dataset: numbers, their strings, or lists of one."""
    number = _written(numbers)
    if dataset == "bare":
        return st.fixed_dictionaries({"area": _written(positive)})
    if dataset == "east":
        return st.fixed_dictionaries({"area": number, "color": st.sampled_from(LEVELS) | st.text(max_size=5)})
    return st.fixed_dictionaries({"area": number, "depth": st.none() | _written(positive)})


def _written(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(values, st.sampled_from(["plain", "plain", "text", "list"])).map(
        lambda pair: {"plain": pair[0], "text": repr(pair[0]), "list": [pair[0]]}[pair[1]]
    )


def _plain(instance: dict[str, Any]) -> dict[str, Any]:
    return {name: value[0] if isinstance(value, list) else value for name, value in instance.items()}


datasets = st.sampled_from(sorted(MODELS))
ORDER = {"bare": ("area",), "east": ("area", "color"), "north": ("area", "depth"), "south": ("area", "depth")}


@st.composite
def valid(draw: st.DrawFn) -> Payload:
    """A request that is right: about one dataset or several, as objects, lists, tensors or CSV."""
    form = draw(st.sampled_from(["objects", "lists", "mixed", "tensors", "csv", *OF_CLIENTS]))
    num_rows = draw(st.integers(1, 8))
    if form == "mixed":
        rows = [
            {"dataset": name} | draw(instance_of(name)) for name in draw(st.lists(datasets, min_size=1, max_size=8))
        ]
        expected = tuple(prediction(row["dataset"], _plain(row)) for row in rows)
        return Payload(as_json({"instances": rows}), "application/json", frozenset({OK}), expected)
    dataset = draw(datasets)
    rows = [draw(instance_of(dataset)) for _ in range(num_rows)]
    plain = [_plain(row) for row in rows]
    expected = tuple(prediction(dataset, row) for row in plain)
    if form == "csv" and dataset != "east":
        cells = [["" if row[name] is None else str(row[name]) for name in ORDER[dataset]] for row in plain]
        lines = [",".join(line) for line in [ORDER[dataset], *cells]]
        text = "\n".join(f"{line},{dataset if i else 'dataset'}" for i, line in enumerate(lines))
        return Payload(text.encode(), "text/csv", frozenset({OK}), expected)
    if form in OF_CLIENTS:
        return draw(of_client(form, dataset, plain, expected))
    if form == "tensors":
        tensors = [
            {"name": name, "shape": [num_rows], "datatype": "BYTES", "data": [row[name] for row in plain]}
            for name in rows[0]
        ]
        body = {"inputs": tensors, "parameters": {"dataset": dataset}}
        return Payload(as_json(body), "application/json", frozenset({OK}), expected)
    instances: list[Any] = [[row[name] for name in ORDER[dataset]] for row in rows] if form == "lists" else list(rows)
    options = draw(st.sampled_from([{}, {"extrapolation": True}, {"explanations": dataset != "bare"}]))
    body = {"dataset": dataset, "instances": instances} | options
    return Payload(as_json(body), "application/json", frozenset({OK}), expected)


OF_CLIENTS = ("split", "records", "columns", "lines", "binary")


@st.composite
def of_client(
    draw: st.DrawFn, form: str, dataset: str, rows: list[dict[str, Any]], expected: tuple[float, ...]
) -> Payload:
    """The same request as MLflow, SageMaker or tritonclient write it, compressed or not."""
    params = {"params": {"dataset": dataset}}
    names = draw(st.permutations(list(rows[0])))
    table = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
    columns = {name: [row[name] for row in rows] for name in names}
    headers: dict[str, str] = {}
    if form == "lines":
        body, content_type = b"\n".join(as_json({"dataset": dataset} | row) for row in rows), "application/jsonlines"
    elif form == "binary":
        body, headers = _binary(dataset, columns)
        content_type = "application/octet-stream"
    else:
        document = {"split": {"dataframe_split": table}, "records": {"dataframe_records": rows}}.get(form)
        body, content_type = as_json((document or {"inputs": columns}) | params), "application/json"
    if draw(st.booleans()):
        body, headers = gzip.compress(body, mtime=0), headers | {INFLATES: "gzip"}
    return Payload(body, content_type, frozenset({OK}), expected, headers)


def _binary(dataset: str, columns: Mapping[str, list[Any]]) -> tuple[bytes, dict[str, str]]:
    """Return tensors as bytes after the JSON, FP64 where that holds the values, and the header of its length."""
    tensors, tail = [], b""
    for name, values in columns.items():
        is_numbers = all(isinstance(value, float) for value in values)
        texts = [b"" if value is None else str(value).encode() for value in values]
        content = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        content = struct.pack(f"<{len(values)}d", *values) if is_numbers else content
        said = {"datatype": "FP64" if is_numbers else "BYTES", "parameters": {"binary_data_size": len(content)}}
        tensors.append({"name": name, "shape": [len(values)], **said})
        tail += content
    head = as_json({"inputs": tensors, "parameters": {"dataset": dataset}})
    return head + tail, {TENSORS: str(len(head))}


wrong_values = st.sampled_from(
    [{}, [], [1, 2], "x", "1_0", "0x1", "--1", math.nan, math.inf, -math.inf, 10**400, "1e999", "inf"]
)


@st.composite
def nearly_valid(draw: st.DrawFn) -> Payload:
    """A request with one thing wrong."""
    dataset = draw(datasets)
    rows = [draw(instance_of(dataset)) for _ in range(draw(st.integers(1, 4)))]
    at = draw(st.integers(0, len(rows) - 1))
    body: dict[str, Any] = {"dataset": dataset, "instances": rows}
    what = draw(st.sampled_from(["value", "extra", "absent", "short", "dataset", "key", "interval", "kind", "none"]))
    status = BAD
    if what == "value":
        rows[at]["area"] = draw(wrong_values)
    elif what == "extra":
        rows[at]["aera"] = 1
    elif what == "absent":
        del rows[at]["area"]
    elif what == "short":
        body["instances"] = [list(row.values()) for row in rows]
        body["instances"][at].append(1)
    elif what == "dataset":
        body["dataset"] = draw(st.text(max_size=20).filter(lambda name: name not in MODELS))
        status = UNKNOWN
    elif what == "key":
        body["instance"] = 1
    elif what == "interval":
        body["interval"] = draw(st.sampled_from([0, 1, 95, -0.5, "0.95", True, [0.9], {}]))
    elif what == "kind":
        body["instances"] = [*rows[:at], draw(st.sampled_from([1, "x", None, True])), *rows[at:]]
    else:
        body["instances"] = []
    return Payload(as_json(body), "application/json", frozenset({status}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(
    [
        *("instances", "inputs", "dataset", "interval", "parameters", "id", "name", "shape", "data", "x", "outputs"),
        *("datatype", "dataframe_split", "dataframe_records", "columns", "params", "extra", "binary_data_size"),
    ]
)
TYPES = (
    *("application/json", "text/csv", "text/plain", "application/octet-stream", "application/xml", "x/y; charset=;;"),
    "application/jsonlines",
)
sent_headers = st.just({}) | st.dictionaries(
    st.sampled_from([TENSORS, INFLATES, "gridline-options"]),
    st.sampled_from(
        ["0", "1", "40", "99999999999", "-1", "gzip", "deflate", "br", "dataset=bare", "interval=x", "&=;%"]
    ),
)


@st.composite
def hostile(draw: st.DrawFn) -> Payload:
    """Anything at all: it may be refused, never break; what happens to be valid may be answered."""
    body = draw(
        st.binary(max_size=200)
        | st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass"))
        | json_values.map(as_json)
        | st.dictionaries(keys, json_values, max_size=5).map(as_json)
        | st.tuples(st.sampled_from(["[", '{"a":', '{"instances":[']), st.integers(1, 20_000)).map(_nested)
        | st.integers(1, 9000).map(lambda digits: b'{"dataset":"bare","instances":[[' + b"9" * digits + b"]]}")
        | st.just(b'{"dataset":"bare","dataset":"east","instances":[[1]]}')
        | st.just(b'{"dataset":"bare","instances":[{"area":1,"area":2}]}')
        | st.just(b"\xef\xbb\xbf" + b'{"dataset":"bare","instances":[[1]]}')
    )
    content_type = draw(st.sampled_from(TYPES))
    headers = draw(sent_headers)
    body = gzip.compress(body, mtime=0) if headers.get(INFLATES) == "gzip" and draw(st.booleans()) else body
    return Payload(body, content_type, frozenset({OK, BAD, UNKNOWN, UNSUPPORTED}), headers=headers)


def _nested(what: tuple[str, int]) -> bytes:
    opening, depth = what
    return (opening * depth).encode()


payloads = valid() | nearly_valid() | hostile()
