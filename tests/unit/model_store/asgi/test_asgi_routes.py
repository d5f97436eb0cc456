from __future__ import annotations

import pytest

from model_store.asgi.routes import Route, route_of


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/predictions/c", Route("endpoint", "c")),
        ("/predictions/c/", Route("endpoint", "c")),
        ("/predictions/c/3", Route("endpoint", "c", "3")),
        ("/predictions/c/3/north", Route("endpoint", "c", "3", "north")),
        ("/predictions/c/3/a/b c/", Route("endpoint", "c", "3", "a/b c")),
        ("/predictions/c/3//north", Route("endpoint", "c", "3", "/north")),
        ("/predictions/c//north", Route("endpoint", "c", "", "north")),
        ("/predictions/c/openapi.json", Route("endpoint", "c", None, "openapi.json")),
        ("/predictions/c/3/openapi.json", Route("endpoint", "c", "3", "openapi.json")),
        ("/explanations/c", Route("endpoint", "c", explain=True)),
        ("/explanations/c/3/north", Route("endpoint", "c", "3", "north", explain=True)),
        ("/v1/models/c:predict", Route("endpoint", "c")),
        ("/v1/models/c", Route("model_ready", "c")),
        ("/v1/models/c:explain", Route("endpoint", "c", explain=True)),
        ("/v2/models/c/infer", Route("endpoint", "c")),
        ("/v2/models/c/explain", Route("endpoint", "c", explain=True)),
        ("/v2/models/c/versions/3/infer", Route("endpoint", "c", "3")),
        ("/v2/models/c", Route("model", "c")),
        ("/v2/models/c/versions/3", Route("model", "c", "3")),
        ("/v2/models/c/ready", Route("model_ready", "c")),
        ("/v2/models/c/versions/3/ready", Route("model_ready", "c", "3")),
        ("/v2", Route("server")),
        ("/v2/health/live", Route("live")),
        ("/v2/health/ready", Route("ready")),
        ("/ping", Route("ping")),
        ("/models/c/invoke", Route("endpoint", "c")),
        ("/invocations", Route("endpoint")),
    ],
)
def test_route_of_each_address(path: str, route: Route) -> None:
    assert route_of(path) == route


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "//", "/nowhere", "/predictions", "/predictions/", "//predictions/c", "/predictions//3"),
        *("/v1/models", "/v1/models/:predict", "/v1/models/c:other", "/v1/models/c/3:predict"),
        *("/v1/models/c:predict/x", "/v2/models", "/v2/models/", "/v2/models/c/other", "/v2/models/c/infer/x"),
        *("/v2/models/c/3/infer", "/v2/models/c/versions", "/v2/health", "/models/c", "/models/invoke", "/ping/x"),
        *("/models/c/3/invoke", "/invocations/c"),
    ],
)
def test_route_of_no_address_is_none(path: str) -> None:
    assert route_of(path) is None
