"""Ask an endpoint with KServe's REST client, and print what it got as JSON; run with `make clients`."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

URL = f"http://{os.environ['ADDRESS']}"
COLLECTION = os.environ["COLLECTION"]
AREA, DEPTH = [3.0, 4.0], [1.0, 2.0]


def headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {os.environ['KEY']}"}


def binary(name: str, values: list[float], dtype: Any, datatype: str) -> InferInput:
    made = InferInput(name, [len(values)], datatype)
    made.set_data_from_numpy(np.array(values, dtype), binary_data=True)
    return made


def of_type(dtype: Any, datatype: str) -> list[InferInput]:
    return [binary("area", AREA, dtype, datatype), binary("depth", DEPTH, dtype, datatype)]


def plain() -> list[InferInput]:
    return [InferInput("area", [2], "FP64", AREA), InferInput("depth", [2], "FP64", DEPTH)]


async def infer(client: InferenceRESTClient, inputs: list[InferInput], **options: Any) -> Any:
    parameters = {"dataset": "north"} | options.pop("parameters", {})
    request = InferRequest(COLLECTION, inputs, parameters=parameters, **options)
    return await client.infer(URL, request, COLLECTION, headers=headers())


async def predictions(client: InferenceRESTClient, inputs: list[InferInput], **options: Any) -> list[float]:
    answer = await infer(client, inputs, **options)
    found: list[float] = answer.get_output_by_name("predictions").as_numpy().tolist()
    return found


async def refused(client: InferenceRESTClient, inputs: list[InferInput]) -> str:
    try:
        await infer(client, inputs)
    except httpx.HTTPStatusError as exc:
        return str(exc)
    return ""


async def ask() -> dict[str, Any]:
    second = InferenceRESTClient(RESTConfig(protocol="v2"))
    first = InferenceRESTClient(RESTConfig(protocol="v1"))
    instances = {"instances": [list(row) for row in zip(AREA, DEPTH, strict=True)], "dataset": "north"}
    v1 = await first.infer(URL, instances, COLLECTION, headers=headers())
    explained = await first.explain(URL, COLLECTION, instances, headers=headers())
    matrix = InferInput("input-0", [2, 2], "FP32", np.array([AREA, DEPTH], np.float32).T.flatten().tolist())
    picked = [RequestedOutput("predictions", {"binary_data": True})]
    found = {
        "same": {
            "json": await predictions(second, plain()),
            "matrix": await predictions(second, [matrix]),
            "FP16": await predictions(second, of_type(np.float16, "FP16")),
            "FP32": await predictions(second, of_type(np.float32, "FP32")),
            "INT64": await predictions(second, of_type(np.int64, "INT64")),
            "binary answer": await predictions(second, plain(), parameters={"binary_data_output": True}),
            "named": await predictions(second, plain(), request_outputs=picked),
            "v1": v1["predictions"],
        },
        "explained": sorted(explained["explanations"][0]["contributions"]),
        "refused": await refused(second, [*plain()[:1], InferInput("dept", [2], "FP64", DEPTH)]),
    }
    await first.close()
    await second.close()
    return found


print(json.dumps(asyncio.run(ask())))
