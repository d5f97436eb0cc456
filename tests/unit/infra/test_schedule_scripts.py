"""The scripts of infra/schedules: one creates a RayJob, the other ends with the exit code of a submitted job."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.infra_files import INFRA, documents
from tests.schemas import faults

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl not installed: apt-get install openssl"
)

SCRIPT = INFRA / "schedules" / "create_rayjob.py"
PATH = "/apis/ray.io/v1/namespaces/gridline/rayjobs"
TOKEN = "of-the-service-account"


@dataclass
class Api:
    """Kubernetes' API for RayJobs: what is there, what may be done, and what was created."""

    port: int
    account: Path
    jobs: list[dict[str, Any]] = field(default_factory=list)
    refusal: int = 0
    created: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        place, _, query = path.partition("?")
        if self.refusal:
            return self.refusal, {"message": "refused"}
        if method == "POST" and place == PATH:
            job = json.loads(body)
            job["metadata"]["name"] = job["metadata"].pop("generateName") + "x7k2p"
            self.created.append(job)
            return 201, job
        if place == PATH:
            assert query == "labelSelector=gridline%2Fcreated-from%3Dgridline-train"
            return 200, {"items": [job for job in self.jobs if "gridline/created-from" in job["metadata"]["labels"]]}
        found = [job for job in self.jobs if job["metadata"]["name"] == place.removeprefix(f"{PATH}/")]
        return (200, found[0]) if found else (404, {"message": "not found"})

    def run(self) -> subprocess.CompletedProcess[str]:
        own = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}
        env = {**os.environ, **own, "SERVICE_ACCOUNT_FOLDER": str(self.account)}
        command = [sys.executable, str(SCRIPT), "gridline-train"]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """A server with a certificate of its own, as in a cluster, and the folder of a service account."""
    names = ["-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "ca.crt")]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", *curve, "-nodes", *names, *files], capture_output=True, check=True)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "namespace").write_text("gridline")
    [template] = [each for each in documents(INFRA / "schedules" / "cron_job_rayjob.yaml") if each["kind"] == "RayJob"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply()

        def do_POST(self) -> None:
            self.reply()

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
            status, document = made.answer(self.command, self.path, body) if allowed else (401, {})
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made = Api(server.server_address[1], tmp_path, [{**template, "metadata": {"labels": {}, **template["metadata"]}}])
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def copy(state: str) -> dict[str, Any]:
    labels = {"gridline/created-from": "gridline-train"}
    return {"metadata": {"name": "gridline-train-abcde", "labels": labels}, "status": {"jobDeploymentStatus": state}}


@pytest.mark.parametrize("states", [[], ["Complete"], ["Failed", "Complete"], ["ValidationFailed"]])
def test_create_rayjob_creates_a_copy_that_runs(api: Api, states: list[str]) -> None:
    api.jobs += [copy(state) for state in states]
    ended = api.run()
    assert (ended.returncode, ended.stdout) == (0, "created gridline-train-x7k2p\n"), ended.stderr
    [created] = api.created
    assert created["spec"] == {**api.jobs[0]["spec"], "suspend": False}
    assert created["metadata"]["labels"]["gridline/created-from"] == "gridline-train"
    assert faults(created) == []


@pytest.mark.parametrize("state", ["Running", "Initializing", "", "Retrying"])
def test_create_rayjob_creates_nothing_while_a_copy_has_not_ended(api: Api, state: str) -> None:
    api.jobs += [copy("Complete"), copy(state)]
    ended = api.run()
    assert (ended.returncode, api.created) == (0, [])
    assert ended.stdout == "gridline-train-abcde has not ended yet: nothing to do\n"


@pytest.mark.parametrize(("refusal", "code"), [(403, 2), (404, 2), (503, 4)])
def test_create_rayjob_says_a_refusal_in_one_line_without_the_token(api: Api, refusal: int, code: int) -> None:
    api.refusal = refusal
    ended = api.run()
    assert (ended.returncode, ended.stderr.count("\n"), TOKEN in ended.stderr) == (code, 1, False), ended.stderr
    assert f"GET {PATH}: {refusal}" in ended.stderr


def test_create_rayjob_tells_an_api_that_does_not_answer(api: Api) -> None:
    api.port = 9
    ended = api.run()
    assert (ended.returncode, ended.stderr.count("\n")) == (4, 1), ended.stderr


def test_driver_exit_code_tells_a_cluster_that_does_not_answer() -> None:
    command = [sys.executable, str(INFRA / "schedules" / "driver_exit_code.py"), "gridline-train-1-x"]
    env = {**os.environ, "RAY_ADDRESS": "http://127.0.0.1:9"}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (4, 1), ended.stderr
