"""Requests as `tritonclient` and KServe's client write them: tensors as bytes, outputs by name, parameters."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from handler.answers.answering import Answer, answer
from handler.models.fleet import Fleet
from handler.requests.payload import Request

Json = dict[str, Any]
NORTH = {"dataset": "north"}
DTYPES = {
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
}


def tensor(name: str, shape: list[int], datatype: str, content: bytes) -> tuple[Json, bytes]:
    """Return a tensor whose elements are bytes after the JSON."""
    return {
        "name": name,
        "shape": shape,
        "datatype": datatype,
        "parameters": {"binary_data_size": len(content)},
    }, content


def texts(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def send(fleet: Fleet, tensors: list[tuple[Json, bytes]], said: str | None = None, **document: Any) -> Answer:
    """Return the answer to a request with these tensors after its JSON; `said` is another length in the header."""
    head = json.dumps({"inputs": [one for one, _ in tensors]} | document).encode()
    headers = {"inference-header-content-length": str(len(head)) if said is None else said}
    body = head + b"".join(content for _, content in tensors)
    [answered] = answer(fleet, [Request(body, "application/octet-stream", headers=headers)])
    return answered


def predictions(fleet: Fleet, instances: list[Any], dataset: str = "north") -> list[float]:
    [answered] = answer(fleet, [Request(json.dumps({"instances": instances, "dataset": dataset}).encode())])
    found: list[float] = json.loads(answered.body)["predictions"]
    return found


@pytest.mark.parametrize("datatype", DTYPES)
def test_a_tensor_of_each_type_is_read_from_bytes(stores_fleet: Fleet, datatype: str) -> None:
    content = np.array([1, 0], DTYPES[datatype]).tobytes()
    depth = tensor("depth", [2, 1], "BYTES", texts("1", ""))
    answered = send(stores_fleet, [tensor("area", [2], datatype, content), depth], parameters=NORTH)
    assert answered.status == 200, answered.body
    document = json.loads(answered.body)
    assert document["outputs"][0]["data"] == predictions(stores_fleet, [[1, 1], [0, None]])


def test_a_matrix_of_any_name_has_the_features_in_order(stores_fleet: Fleet) -> None:
    content = np.array([[3, 1], [4, 2]], "<f4").tobytes()
    answered = send(stores_fleet, [tensor("input-0", [2, 2], "FP32", content)], parameters=NORTH)
    assert json.loads(answered.body)["outputs"][0]["data"] == predictions(stores_fleet, [[3, 1], [4, 2]])


def test_texts_name_levels_and_datasets(stores_fleet: Fleet) -> None:
    tensors = [
        tensor("area", [1], "FP64", np.array([2.5]).tobytes()),
        tensor("color", [1], "BYTES", texts("red")),
        tensor("dataset", [1], "BYTES", texts("east")),
    ]
    answered = send(stores_fleet, tensors)
    assert json.loads(answered.body)["outputs"][0]["data"] == predictions(stores_fleet, [[2.5, "red"]], "east")


def test_outputs_come_as_bytes_by_default_of_tritonclient(stores_fleet: Fleet) -> None:
    tensors = [tensor("instances", [2, 2], "FP64", np.array([3.0, 1, 4, 2]).tobytes())]
    options = NORTH | {"binary_data_output": True, "interval": 0.9, "extrapolation": True, "priority": 1, "timeout": 5}
    answered = send(stores_fleet, tensors, parameters=options, id="7")
    assert answered.content_type == "application/octet-stream"
    length = int(answered.headers["Inference-Header-Content-Length"])
    document, tail = json.loads(answered.body[:length]), answered.body[length:]
    assert document["id"] == "7"
    found = {}
    for output in document["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]], tail = tail[:size], tail[size:]
        assert "data" not in output
    assert tail == b""
    assert np.frombuffer(found["predictions"]).tolist() == predictions(stores_fleet, [[3, 1], [4, 2]])
    assert np.frombuffer(found["confidence_interval"]).shape == (4,)
    first = struct.unpack_from("<I", found["extrapolations"])[0]
    assert isinstance(json.loads(found["extrapolations"][4 : 4 + first]), list)


def test_outputs_are_those_that_are_named_in_their_order(stores_fleet: Fleet) -> None:
    tensors = [tensor("instances", [1, 2], "FP64", np.array([3.0, 1]).tobytes())]
    outputs = [
        {"name": "explanations", "parameters": {"binary_data": False}},
        {"name": "predictions", "parameters": {"binary_data": True}},
        {"name": "prediction_interval"},
    ]
    answered = send(stores_fleet, tensors, outputs=outputs, parameters=NORTH | {"interval": 0.9})
    length = int(answered.headers["Inference-Header-Content-Length"])
    document = json.loads(answered.body[:length])
    assert [output["name"] for output in document["outputs"]] == [output["name"] for output in outputs]
    assert ["data" in output for output in document["outputs"]] == [True, False, True]
    assert len(answered.body) - length == 8
    assert json.loads(document["outputs"][0]["data"][0])["contributions"].keys() == {"area", "depth"}


def test_what_kserves_client_sends_beside_the_tensors_is_taken(stores_fleet: Fleet) -> None:
    body = {
        "id": "a",
        "model_name": "stores",
        "inputs": [{"name": "input-0", "shape": [1, 2], "datatype": "FP64", "data": [3, 1], "parameters": {}}],
        "outputs": [],
        "parameters": NORTH | {"binary_data_output": False},
    }
    [answered] = answer(stores_fleet, [Request(json.dumps(body).encode())])
    assert json.loads(answered.body)["outputs"][0]["data"] == predictions(stores_fleet, [[3, 1]])
    [answered] = answer(stores_fleet, [Request(json.dumps(body | {"parameters": None}).encode(), dataset="north")])
    assert answered.status == 200


AREA = {"name": "area", "shape": [1], "datatype": "FP64"}
ROW = {"name": "instances", "shape": [1, 2], "datatype": "FP64", "data": [3, 1]}
REFUSED: list[tuple[Json, bytes, str | None, str]] = [
    ({"inputs": [AREA | {"parameters": {"binary_data_size": 8}}]}, b"1234", None, "binary_data=False"),
    ({"inputs": [AREA | {"parameters": {"binary_data_size": 4}}]}, b"1234", None, "give 8"),
    ({"inputs": [AREA | {"parameters": {"binary_data_size": "8"}}]}, b"12345678", None, "'binary_data_size' is '8'"),
    ({"inputs": [AREA | {"parameters": {"binary_data_size": -8}}]}, b"12345678", None, "'binary_data_size' is -8"),
    ({"inputs": [AREA | {"parameters": 3}]}, b"", None, "'parameters' is a number"),
    ({"inputs": [ROW]}, b"12", None, "2 bytes after the tensors belong to none"),
    ({"inputs": [AREA | {"parameters": {"binary_data_size": 8}}]}, b"12345678", "x", "Inference-Header-Content-Length"),
    ({"inputs": [AREA | {"parameters": {"binary_data_size": 8}}]}, b"12345678", "99999", "Inference-Header-Content"),
    ({"inputs": [AREA | {"parameters": {"binary_data_size": 8}}]}, b"12345678", "-1", "Inference-Header-Content-Len"),
    ({"instances": [[1, 2]], "dataset": "north"}, b"1", None, "are tensors of 'inputs'"),
    ({"inputs": [AREA | {"shape": [100_001], "datatype": "INT8"}]}, b"", None, "100001 instances: send at most 100000"),
    ({"inputs": [{"name": "instances", "shape": [50_000, 50], "datatype": "FP16"}]}, b"", None, "2000000 values"),
    ({"inputs": [AREA | {"datatype": "BF16"}]}, b"", None, "'datatype' is not one of"),
    ({"inputs": [ROW], "outputs": [{"name": "y"}]}, b"", None, "output 'y' is not known: the outputs are"),
    ({"inputs": [ROW], "outputs": [{"name": ["predictions"]}]}, b"", None, "is not known: the outputs are"),
    ({"inputs": [ROW], "outputs": 3}, b"", None, "'outputs' is not a list"),
    ({"inputs": [ROW], "outputs": [{"name": "predictions"}] * 2}, b"", None, "names an output twice"),
    ({"inputs": [ROW], "outputs": [{"name": "prediction_interval"}]}, b"", None, "add 'interval'"),
    ({"inputs": [ROW], "outputs": [{"name": "predictions", "parameters": {"classification": 2}}]}, b"", None, "class"),
    (
        {"inputs": [ROW], "outputs": [{"name": "predictions", "parameters": {"shared_memory_region": "a"}}]},
        *(b"", None, "shared memory is not served"),
    ),
    ({"inputs": [ROW | {"parameters": {"shared_memory_region": "a"}}]}, b"", None, "shared memory is not served"),
    ({"inputs": [ROW], "parameters": {"sequence_id": 3}}, b"", None, "leave 'sequence_id' out"),
    ({"inputs": [ROW], "parameters": {"binary_data_output": "yes"}}, b"", None, "give true or false"),
    ({"inputs": [ROW], "parameters": {"intervall": 0.9}}, b"", None, "key 'intervall' is not known"),
]


@pytest.mark.parametrize(("document", "tail", "said", "message"), REFUSED)
def test_a_wrong_request_is_refused_with_what_to_change(
    stores_fleet: Fleet, document: Json, tail: bytes, said: str | None, message: str
) -> None:
    head = json.dumps(document).encode()
    headers = {"inference-header-content-length": str(len(head)) if said is None else said}
    [answered] = answer(stores_fleet, [Request(head + tail, "", dataset="north", headers=headers)])
    refused = json.loads(answered.body)
    assert answered.status == 400, refused
    assert message in refused["message"]
    assert refused["error"] == refused["message"]  # what both clients show


@pytest.mark.parametrize(
    "content",
    [b"\x01\x00\x00", b"\x05\x00\x00\x00red", b"\xff\xff\xff\xff", texts("red", "blue"), texts("red") + b"x", b""],
)
def test_texts_that_do_not_fill_their_bytes_are_refused(stores_fleet: Fleet, content: bytes) -> None:
    tensors = [tensor("area", [1], "FP64", np.array([2.5]).tobytes()), tensor("color", [1], "BYTES", content)]
    answered = send(stores_fleet, tensors, parameters={"dataset": "east"})
    assert answered.status == 400
    assert b"1 elements of BYTES" in answered.body


def test_texts_that_are_not_utf_8_are_refused(stores_fleet: Fleet) -> None:
    tensors = [
        tensor("area", [1], "FP64", np.array([2.5]).tobytes()),
        tensor("color", [1], "BYTES", b"\1\0\0\0\xff"),
    ]
    assert b"element 0 is not UTF-8" in send(stores_fleet, tensors, parameters={"dataset": "east"}).body
