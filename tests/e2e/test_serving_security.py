"""Who may ask TorchServe for what: keys, addresses, and where archives may come from."""

from __future__ import annotations

import hashlib
import json
import socket
import zipfile
from pathlib import Path

import httpx
import pytest

from model_store.deployment.errors import KeyRefusedError
from model_store.serving.folder import prepare
from model_store.serving.ports import with_free
from model_store.serving.settings import ServerSettings
from model_store.torchserve.client import read_key
from model_store.torchserve.inference import Inference
from model_store.torchserve.management import Management
from model_store.torchserve.process import start
from tests.servers.torchserve import ANY_PORTS, ServedStores, until

pytestmark = pytest.mark.torchserve
HOSTS = ("torchserve", "uvicorn")

BODY = {"dataset": "north", "instances": [[3, 1]]}
OF_THE_SERVER = {
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "GRIDLINE_CONTROL"),  # and what a shell adds
    *("GRIDLINE_WORKER_LOG_LEVEL", "TS_DECODE_INPUT_REQUEST", "TS_IPEX_ENABLE", "TS_IPEX_GPU_ENABLE"),
}


def folder_digest(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of a folder, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", [None, "wrong", "management"])
def test_predictions_need_the_inference_key(served_stores: ServedStores, kind: str | None) -> None:
    settings = served_stores.server.settings
    key = read_key(settings.key_file, "management") if kind == "management" else kind
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    for path in ("/predictions/stores", "/v1/models/stores:predict", "/v2/models/stores/infer", "/ping"):
        response = httpx.post(settings.inference_url + path, json=BODY, headers=headers)
        assert response.status_code == 400
        assert response.json()["type"] == "InvalidKeyException"


@pytest.mark.parametrize("kind", [None, "wrong", "inference"])
def test_management_needs_the_management_key(served_stores: ServedStores, kind: str | None) -> None:
    settings = served_stores.server.settings
    key = read_key(settings.key_file, "inference") if kind == "inference" else kind
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=settings.management_url, headers=headers) as client:
        refused = [
            client.get("/models"),
            client.get("/models/stores?customized=true"),
            client.post("/models", params={"url": "stores.mar"}),
            client.put("/models/stores/1/set-default"),
            client.put("/models/stores", params={"min_worker": 0}),
            client.delete("/models/stores/1"),
            client.get("/token", params={"type": "inference"}),
        ]
    assert {response.status_code for response in refused} == {400}
    assert served_stores.client.post("/predictions/stores", json=BODY).status_code == 200


def test_archives_come_from_the_model_store_only(served_stores: ServedStores, tmp_path: Path) -> None:
    """With the management key, and still: no URL, no path out of the folder; and the folder stays as it is."""
    settings = served_stores.server.settings
    before = folder_digest(settings.model_store)
    [name] = [name for name in before if name.startswith("stores")]
    evil = tmp_path / "evil.mar"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    urls = [
        f"file://{evil}",
        f"file://{settings.model_store}/../evil.mar",
        f"file://{settings.model_store}/%2e%2e/evil.mar",
        f"file://{settings.model_store}/{name}",
        f"FILE://{evil}",
        "http://127.0.0.1:1/evil.mar",
        "https://example.invalid/evil.mar",
        "https://bucket.s3.amazonaws.com/evil.mar?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0",
        "s3://bucket/evil.mar",
        "../evil.mar",
        f"../{tmp_path.name}/evil.mar",
        str(evil),
        "nowhere.mar",
        "",
    ]
    key = read_key(settings.key_file, "management")
    with httpx.Client(
        base_url=settings.management_url, headers={"Authorization": f"Bearer {key}"}, timeout=60
    ) as client:
        for url in urls:
            response = client.post("/models", params={"url": url, "initial_workers": 1, "synchronous": "true"})
            assert response.is_error, url
    assert folder_digest(settings.model_store) == before
    with served_stores.management() as management:
        assert [one.version for one in management.versions("stores")] == ["1"]
    assert served_stores.client.post("/predictions/stores", json=BODY).status_code == 200


def test_nothing_listens_beyond_loopback(served_stores: ServedStores) -> None:
    ports = served_stores.server.settings.ports
    ours = {ports.inference, ports.management, ports.metrics, ports.grpc_inference, ports.grpc_management}
    addresses = [address for address, port in listening() if port in ours]
    assert len(addresses) == (5 if served_stores.server.name == "TorchServe" else 2)
    assert set(addresses) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def listening() -> list[tuple[str, int]]:
    """Return address and port of every listening TCP socket of this machine."""
    found = []
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A":
                address, _, port = local.partition(":")
                words = [bytes.fromhex(address)[i : i + 4][::-1] for i in range(0, len(address) // 2, 4)]
                found.append((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


def test_workers_see_no_secret_of_the_environment(served_stores: ServedStores) -> None:
    with served_stores.management() as management:
        [worker] = management.describe("stores", "1").workers
    for pid in (worker.pid, served_stores.server.pid):
        names = {entry.partition("=")[0] for entry in Path(f"/proc/{pid}/environ").read_text().split("\0") if entry}
        assert "PATH" in names
        assert not [name for name in names - OF_THE_SERVER if not name.startswith(("OPENBLAS_", "MKL_"))]


def test_keys_expire_and_are_read_anew_after_a_restart(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path / "s", ports=with_free(ANY_PORTS), token_expiration_min=0.05)
    keys = settings.key_file
    with Management(settings.management_url, keys) as management:
        prepare(settings)
        with start(settings):
            until(lambda: answers(management))
            key = read_key(keys, "management")
            until(lambda: not answers(management))
            with pytest.raises(KeyRefusedError) as caught:
                management.versions("stores")
            assert key not in str(caught.value)
            with Inference(settings.inference_url, keys) as endpoint, pytest.raises(KeyRefusedError):
                endpoint.describe("stores")
        prepare(settings)
        with start(settings):
            until(lambda: answers(management))
            assert read_key(keys, "management") != key


def answers(management: Management) -> bool:
    """Return whether the server takes the key."""
    from model_store.deployment.errors import ServerError

    try:
        management.versions("stores")
    except ServerError:
        return False
    return True


def test_the_access_log_is_off_unless_asked_for(torchserve_stores: ServedStores) -> None:
    torchserve_stores.client.post("/predictions/stores", json=BODY)
    log = torchserve_stores.server.log_file.read_text()
    assert "INFO" in log
    assert "/predictions/stores" not in log


def test_no_key_is_in_the_log(torchserve_stores: ServedStores) -> None:
    keys = json.loads(torchserve_stores.server.settings.key_file.read_text())
    log = torchserve_stores.server.log_file.read_text()
    assert "INFO" in log
    assert {name: entry["key"] in log for name, entry in keys.items()} == dict.fromkeys(
        ("management", "inference", "API"), False
    )
