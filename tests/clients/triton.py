"""Ask an endpoint with tritonclient in each way that it has, and print what it got as JSON; run with `make clients`."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

HEADERS = {"Authorization": f"Bearer {os.environ['KEY']}"}
COLLECTION = os.environ["COLLECTION"]
AREA, DEPTH = [3.0, 4.0], [1.0, 2.0]
OUTPUTS = ("predictions", "confidence_interval", "prediction_interval")


def tensor(name: str, values: Any, binary: bool = True) -> InferInput:
    array = np.asarray(values)
    datatype = "BYTES" if array.dtype == np.object_ else np_to_triton_dtype(array.dtype)
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def features(dtype: Any = np.float64, binary: bool = True) -> list[InferInput]:
    return [tensor("area", np.array(AREA, dtype), binary), tensor("depth", np.array(DEPTH, dtype), binary)]


client = InferenceServerClient(os.environ["ADDRESS"])


def infer(inputs: list[InferInput], **options: Any) -> Any:
    parameters = {"dataset": "north"} | options.pop("parameters", {})
    return client.infer(COLLECTION, inputs, headers=dict(HEADERS), parameters=parameters, **options)


def predictions(inputs: list[InferInput], **options: Any) -> list[float]:
    found: list[float] = infer(inputs, **options).as_numpy("predictions").tolist()
    return found


def refused(inputs: list[InferInput], **options: Any) -> str:
    try:
        infer(inputs, **options)
    except InferenceServerException as exc:
        return str(exc)
    return ""


texts = [tensor("area", np.array(["3", "4"], np.object_)), tensor("depth", np.array(["1", "2"], np.object_))]
named = [InferRequestedOutput("explanations", binary_data=True), InferRequestedOutput("predictions", binary_data=False)]
some = infer(features(), outputs=named, request_id="7")
intervals = infer(features(), parameters={"interval": 0.9})
found = {
    "same": {
        **{dtype.__name__: predictions(features(dtype)) for dtype in (np.float16, np.float32, np.float64)},
        **{dtype.__name__: predictions(features(dtype)) for dtype in (np.int8, np.int64, np.uint16, np.uint64)},
        "json": predictions(features(binary=False)),
        "json of texts": predictions([*features()[:1], tensor("depth", np.array(["1", "2"], np.object_), False)]),
        "texts": predictions(texts),
        "matrix": predictions([tensor("input-0", np.array([AREA, DEPTH], np.float32).T.copy())]),
        "gzip": predictions(features(), request_compression_algorithm="gzip", response_compression_algorithm="gzip"),
        "deflate": predictions(features(), request_compression_algorithm="deflate"),
        "priority": predictions(features(), priority=1, timeout=1000),
        "asynchronous": client.async_infer(
            COLLECTION, features(), headers=dict(HEADERS), parameters={"dataset": "north"}
        )
        .get_result()
        .as_numpy("predictions")
        .tolist(),
    },
    "id": some.get_response()["id"],
    "names": [output["name"] for output in some.get_response()["outputs"]],
    "contributions": json.loads(some.as_numpy("explanations")[0])["contributions"],
    "shapes": {name: list(intervals.as_numpy(name).shape) for name in OUTPUTS},
    "refused": {
        "class": refused(features(), outputs=[InferRequestedOutput("predictions", class_count=2)]),
        "output": refused(features(), outputs=[InferRequestedOutput("y")]),
        "sequence": refused(features(), sequence_id=5, sequence_start=True),
        "feature": refused([*features()[:1], tensor("dept", np.array(DEPTH))]),
        "interval": refused(features(), outputs=[InferRequestedOutput("prediction_interval")]),
    },
}
print(json.dumps(found))
