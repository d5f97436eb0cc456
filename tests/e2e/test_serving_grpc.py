"""TorchServe's gRPC inference port, through its own proto."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import grpc
import grpc_tools
import pytest
from grpc_tools import protoc

from model_store.torchserve.client import read_key
from tests.servers.torchserve import ServedStores

pytestmark = pytest.mark.torchserve

PROTO = Path(__file__).parents[2] / "examples" / "serving" / "inference.proto"
BODY = b'{"dataset": "north", "instances": [[3, 1]]}'


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModuleType, ModuleType]]:
    """The modules that protoc makes of the proto: messages, and the client stub."""
    folder = tmp_path_factory.mktemp("proto")
    include = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [
        f"-I{PROTO.parent}",
        f"-I{include}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        str(PROTO),
    ]
    assert protoc.main(["protoc", *arguments]) == 0
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("inference_pb2"), importlib.import_module("inference_pb2_grpc")
    finally:
        sys.path.remove(str(folder))


@pytest.fixture
def channel(served_stores: ServedStores) -> Iterator[grpc.Channel]:
    settings = served_stores.server.settings
    with grpc.insecure_channel(f"{settings.host}:{settings.ports.grpc_inference}") as opened:
        yield opened


def predict(
    channel: grpc.Channel, messages: tuple[ModuleType, ModuleType], body: bytes, key: str | None
) -> dict[str, object]:
    """Return the document that the endpoint answers."""
    pb2, pb2_grpc = messages
    metadata = [] if key is None else [("authorization", f"Bearer {key}")]
    request = pb2.PredictionsRequest(model_name="stores", input={"body": body})
    response = pb2_grpc.InferenceAPIsServiceStub(channel).Predictions(request, metadata=metadata, timeout=30)
    document: dict[str, object] = json.loads(response.prediction)
    return document


def test_grpc_answers_as_http_does(
    served_stores: ServedStores, channel: grpc.Channel, messages: tuple[ModuleType, ModuleType]
) -> None:
    key = read_key(served_stores.server.settings.key_file, "inference")
    assert predict(channel, messages, BODY, key) == served_stores.post(BODY).json()


def test_grpc_answers_a_wrong_request_with_its_code_in_the_document(
    served_stores: ServedStores, channel: grpc.Channel, messages: tuple[ModuleType, ModuleType]
) -> None:
    """TorchServe does not turn the status of an answer into one of gRPC: the document holds it."""
    key = read_key(served_stores.server.settings.key_file, "inference")
    document = predict(channel, messages, b'{"dataset": "west", "instances": [[3, 1]]}', key)
    assert document["code"] == 404


@pytest.mark.parametrize("kind", [None, "wrong", "management"])
def test_grpc_refuses_without_the_inference_key(
    served_stores: ServedStores, channel: grpc.Channel, messages: tuple[ModuleType, ModuleType], kind: str | None
) -> None:
    keys = served_stores.server.settings.key_file
    key = read_key(keys, "management") if kind == "management" else kind
    with pytest.raises(grpc.RpcError) as caught:
        predict(channel, messages, BODY, key)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
