"""The documents of KServe's protocols, as its clients and tritonclient ask for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handler.hosting.endpoint import Endpoint
from handler.models.fleet import Fleet
from model_store.asgi.documents import document
from model_store.asgi.models import LoadedModels
from model_store.asgi.routes import route_of
from model_store.asgi.table import ModelTable, Registered

VERSION = Registered("stores", "1", "stores.mar", "folder", 1)


def ask(path: str, loaded: LoadedModels, *, is_draining: bool = False) -> tuple[int, Any]:
    route = route_of(path)
    assert route is not None
    found = document(route, loaded, is_draining=is_draining)
    return int(found.status), json.loads(found.body)


@pytest.fixture
def loaded(stores_fleet: Fleet) -> LoadedModels:
    table = ModelTable((VERSION,), {"stores": "1"})
    return LoadedModels(table, {("stores", "1"): Endpoint(stores_fleet)})


def test_a_server_tells_what_it_is_and_that_it_is_ready(loaded: LoadedModels) -> None:
    assert ask("/v2", loaded)[1]["extensions"] == ["binary_tensor_data"]
    assert ask("/v2/health/live", loaded) == (200, {"live": True})
    assert ask("/v2/health/ready", loaded) == (200, {"ready": True})
    for path in ("/v2/models/stores/ready", "/v2/models/stores/versions/1/ready", "/v1/models/stores"):
        assert ask(path, loaded) == (200, {"name": "stores", "ready": True})


@pytest.mark.parametrize("path", ["/v2/models/stores", "/v2/models/stores/versions/1"])
def test_a_collection_has_a_tensor_for_each_feature_and_one_for_the_dataset(path: str, loaded: LoadedModels) -> None:
    status, found = ask(path, loaded)
    assert (status, found["name"], found["versions"]) == (200, "stores", ["1"])
    datatypes = {tensor["name"]: tensor["datatype"] for tensor in found["inputs"]}
    assert datatypes == {"area": "FP64", "depth": "FP64", "color": "BYTES", "dataset": "BYTES"}
    shapes = {tensor["name"]: tensor["shape"] for tensor in found["outputs"]}
    of_text = {tensor["name"] for tensor in found["outputs"] if tensor["datatype"] == "BYTES"}
    assert of_text == {"interval_reasons", "extrapolations", "explanations"}
    assert shapes["predictions"] == [-1]
    assert shapes["prediction_interval"] == [-1, 2]


def test_a_server_without_its_models_is_live_and_not_ready() -> None:
    registered = ModelTable((VERSION,), {"stores": "1"})
    for unloaded in (LoadedModels(), LoadedModels(registered)):
        assert ask("/v2/health/live", unloaded)[0] == 200
        assert ask("/v2/health/ready", unloaded)[0] == 503
    assert ask("/v2/models/stores/ready", LoadedModels())[0] == 404
    assert ask("/v2/models/stores/ready", LoadedModels(registered))[0] == 503
    assert ask("/v1/models/stores", LoadedModels(registered))[0] == 503


def test_a_server_that_is_about_to_end_is_live_and_not_ready(loaded: LoadedModels) -> None:
    assert ask("/v2/health/live", loaded, is_draining=True)[0] == 200
    for path in ("/v2/health/ready", "/v2/models/stores/ready"):
        assert ask(path, loaded, is_draining=True)[0] == 503
