"""The management client by a server that answers as TorchServe does: what registering leaves in the model store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model_store.archives.archive import Archive
from model_store.deployment.errors import ServerError
from model_store.torchserve.management import Management

DIGEST = "0123456789ab" + "c" * 52
WORKER = {"id": "9000", "pid": 1, "status": "READY"}


class Answers(BaseHTTPRequestHandler):
    """Knows version 1 of `plants`, and takes every archive but one named `refused`."""

    def do_GET(self) -> None:
        entry = {"modelVersion": "1", "modelUrl": f"plants-1-{DIGEST[:12]}.mar", "minWorkers": 1, "workers": [WORKER]}
        self._answer(200, [entry | {"jobQueueStatus": {"pendingRequests": 0}}])

    def do_POST(self) -> None:
        self._answer(400 if "plants-9-" in self.path else 200, {"message": "no room"})

    def _answer(self, status: int, document: object) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def management(tmp_path: Path) -> Iterator[Management]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with Management(f"http://127.0.0.1:{server.server_port}", model_store=tmp_path / "model-store") as made:
        yield made
    server.shutdown()
    server.server_close()
    thread.join()


def archive(folder: Path, version: int, size_bytes: int = 10) -> Archive:
    path = folder / "made.mar"
    path.write_bytes(b"x" * size_bytes)
    return Archive("plants", version, path, DIGEST)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "model-store").iterdir())


def test_register_removes_what_killed_deployments_left_and_nothing_else(management: Management, tmp_path: Path) -> None:
    (tmp_path / "model-store").mkdir()
    left = [f".plants-2-{DIGEST[:12]}.mar.partial", f"plants-3-{DIGEST[:12]}.mar"]
    kept = [
        f"plants-1-{DIGEST[:12]}.mar",
        "plants.mar",
        f"plants-a-2-{DIGEST[:12]}.mar",
        f".plants-a-2-{DIGEST[:12]}.mar.partial",
        f"my-plants-2-{DIGEST[:12]}.mar",
    ]
    for name in (*left, *kept):
        (tmp_path / "model-store" / name).write_text("")
    management.register(archive(tmp_path, 4), 1)
    assert names(tmp_path) == sorted([*kept, f"plants-4-{DIGEST[:12]}.mar"])


def test_register_leaves_no_archive_that_is_refused(management: Management, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="no room"):
        management.register(archive(tmp_path, 9), 1)
    assert names(tmp_path) == []


def test_register_leaves_no_half_on_a_full_disk(
    management: Management, tmp_path: Path, full_disk: Callable[[], None]
) -> None:
    made = archive(tmp_path, 4, size_bytes=1 << 20)
    full_disk()
    with pytest.raises(ServerError, match="can't be written: File too large; make room there"):
        management.register(made, 1)
    assert names(tmp_path) == []
