"""A collection on Ray Serve answers byte for byte what the handler answers, through changes of versions and of keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from handler.hosting.endpoint import Endpoint
from handler.requests.payload import Request
from jobs.cluster.ray_serve_host import RayServe, start
from model_store import open_ledger
from model_store.archives.stored import archive_of
from model_store.archives.version_fleet import fleet_of_version
from model_store.deployment.errors import ServerError
from model_store.deployment.following import deploy_version
from model_store.deployment.rollout import Target
from model_store.ledger.ledger import Ledger
from model_store.serving.ports import with_free
from model_store.serving.running import reserved, serving
from model_store.serving.settings import Ports, ServerSettings
from model_store.torchserve.client import read_key
from model_store.torchserve.management import Management
from tests.samples.fleets import commit_models, sample_stores
from tests.servers.ray_cluster import RayHead
from tests.servers.torchserve import inference_client

pytestmark = pytest.mark.ray

COLLECTION = "stores"
ONE: dict[str, Any] = {"dataset": "north", "instances": [[3, 1]]}
TENSOR = {"name": "instances", "shape": [1, 2], "datatype": "FP64", "data": [3, 1]}
BODIES: list[tuple[str, bytes]] = [
    *(
        ("application/json", json.dumps(body).encode())
        for body in (
            ONE,
            {"dataset": "north", "instances": [{"area": "3", "depth": None}], "interval": 0.95, "explanations": True},
            {"instances": [{"dataset": "east", "area": 1, "color": "red"}, {"dataset": "bare", "area": 4}]},
            {"dataset": "south", "instances": [[i / 7, i / 9] for i in range(20_000)], "extrapolation": True},
            {"inputs": [TENSOR], "parameters": {"dataset": "south"}, "id": "größe"},
            {"dataset": "west", "instances": [[3, 1]]},
            {"dataset": "north", "instances": [[3, -2]]},
            {},
        )
    ),
    ("text/csv", b"area,depth,dataset\n3,1,north\n2,,south\n"),
    ("application/json", b'{"dataset": "north", "dataset": "south", "instances": [[3, 1]]}'),
    ("application/json", b"\xff"),
]


@dataclass(frozen=True)
class Served:
    """The running application, a store with two versions, of which it serves the first, and a client with the key."""

    server: RayServe
    ledger: Ledger
    client: httpx.Client

    def management(self) -> Management:
        settings = self.server.settings
        return Management(settings.management_url, settings.key_file, settings.model_store)

    def deploy(self, version: int) -> None:
        with self.management() as management:
            deploy_version(self.ledger, self.ledger.version(COLLECTION, version), Target(management, drain_s=0.0))

    def endpoint(self, version: int = 1) -> Endpoint:
        """Return the endpoint of a version, in this process."""
        return Endpoint(fleet_of_version(self.ledger.version(COLLECTION, version)))


def settings_in(folder: Path) -> ServerSettings:
    return ServerSettings(folder, ports=with_free(Ports(0, 0, 0, None, None)))


@pytest.fixture(scope="module")
def served(ray_head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A collection on the cluster of the head; afterwards the application is gone."""
    folder = tmp_path_factory.mktemp("rs")
    ledger = open_ledger(str(folder / "store"))
    for shift in (0.0, 5.0):
        commit_models(ledger, COLLECTION, sample_stores(shift))
    archive = archive_of(ledger, ledger.version(COLLECTION, 1), folder / "archives")
    settings = settings_in(folder / "server")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ray_head.environment.items():
            environment.setenv(name, value)
        environment.setenv("RAY_ADDRESS", ray_head.address)
        with reserved(settings) as lock, serving(start, archive, settings, lock) as server:
            with inference_client(settings) as client:
                yield Served(server, ledger, client)
            assert server.drain(30.0)
            assert server.exit_code() == 0


@pytest.mark.parametrize(("content_type", "body"), BODIES, ids=range(len(BODIES)))
def test_ray_serve_answers_as_the_handler(served: Served, content_type: str, body: bytes) -> None:
    response = served.client.post(f"/predictions/{COLLECTION}", content=body, headers={"content-type": content_type})
    headers = dict(response.request.headers)
    [expected] = served.endpoint().respond([Request(body, content_type, headers=headers)])
    assert response.status_code == expected.status
    assert response.content == expected.body
    assert response.headers["content-type"] == expected.content_type


def test_ray_serve_describes_the_collection_and_a_dataset(served: Served) -> None:
    for dataset in (None, "north"):
        path = f"/predictions/{COLLECTION}" + ("" if dataset is None else f"/1/{dataset}")
        [expected] = served.endpoint().respond([Request(method="GET", dataset=dataset)])
        assert served.client.get(path).json() == json.loads(expected.body)


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer no"}, {"Authorization": ""}])
def test_ray_serve_refuses_a_wrong_key(served: Served, header: dict[str, str]) -> None:
    url = f"{served.server.settings.inference_url}/predictions/{COLLECTION}"
    response = httpx.post(url, json=ONE, headers=header, trust_env=False)
    assert response.status_code == 400
    assert response.json()["type"] == "InvalidKeyException"


def test_ray_serve_refuses_a_body_beyond_the_limit(served: Served) -> None:
    limit = served.server.settings.max_request_size_bytes
    assert served.client.post(f"/predictions/{COLLECTION}", content=b" " * (limit + 1)).status_code == 413


def test_ray_serve_loses_no_request_through_a_deployment_and_a_rollback(served: Served) -> None:
    first, second = (served.endpoint(version).respond([Request(json.dumps(ONE).encode())])[0] for version in (1, 2))
    ended = Event()

    def ask() -> list[tuple[int, bytes]]:
        seen = []
        while not ended.is_set():
            response = served.client.post(f"/predictions/{COLLECTION}", json=ONE)
            seen.append((response.status_code, response.content))
        return seen

    with ThreadPoolExecutor(2) as executor:
        asking = [executor.submit(ask) for _ in range(2)]
        try:
            for version, expected in ((2, second), (1, first)):
                served.deploy(version)
                assert served.client.post(f"/predictions/{COLLECTION}", json=ONE).content == expected.body
        finally:
            ended.set()
        seen = [one for future in asking for one in future.result()]
    assert set(seen) == {(200, first.body), (200, second.body)}


def test_ray_serve_takes_a_new_key_and_not_the_old_one(served: Served) -> None:
    settings = served.server.settings
    old = read_key(settings.key_file, "inference")
    with served.management() as management:
        management.rotate_key("inference")
    url = f"{settings.inference_url}/predictions/{COLLECTION}"
    assert httpx.post(url, json=ONE, headers={"Authorization": f"Bearer {old}"}, trust_env=False).status_code == 400
    assert served.client.post(f"/predictions/{COLLECTION}", json=ONE).status_code == 200


def test_ray_serve_is_refused_a_second_time_on_a_cluster(served: Served, tmp_path: Path) -> None:
    archive = archive_of(served.ledger, served.ledger.version(COLLECTION, 1), tmp_path / "archives")
    settings = settings_in(tmp_path / "server")
    with (
        reserved(settings) as lock,
        pytest.raises(ServerError, match="the cluster serves an application 'gridline' already: stop"),
        serving(start, archive, settings, lock),
    ):
        pass
    assert served.client.post(f"/predictions/{COLLECTION}", json=ONE).status_code == 200
