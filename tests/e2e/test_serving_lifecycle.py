"""The life of `gridline serve`: its folder, ports and keys, and what becomes of requests and processes at its end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from jobs.cli import main
from model_store.archives.stored import archive_of
from model_store.ledger.ledger import Ledger
from model_store.serving.control import accept_requests, refuse_requests
from model_store.serving.folder import held
from model_store.serving.ports import with_free
from model_store.serving.settings import ServerSettings
from model_store.torchserve.client import BearerKey
from model_store.torchserve.management import Management
from model_store.torchserve.serving import serving as serving_here
from tests.servers.command_line import ANY_PORTS as GIVEN_PORTS
from tests.servers.command_line import PORT_OPTIONS, running, started
from tests.servers.torchserve import ANY_PORTS, ServedStores, processes_with, until

ROOT = Path(__file__).parents[2]
READ_ONLY_ROOT = Path(__file__).with_name("read_only_root.sh")
NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
PACKAGES = sorted({path for path in sys.path if path.endswith("site-packages")})
SERVE_AND_DEPLOY = """\
set -eu
unset TMPDIR HOME
cd "$4"
! touch /tmp/gridline-probe 2>/dev/null
folder=$1/s
"$2" -m jobs serve stores --store "$3" --folder "$folder" --host ::1 --json > "$1/document" &
server=$!
trap "kill -KILL $server 2>/dev/null || true" EXIT
until [ -s "$1/document" ]; do kill -0 $server; sleep 0.1; done
"$2" -m jobs predict stores --url http://[::1]:8080 --token-file "$folder" --dataset north --set area=3 --set depth=1
"$2" -m jobs deploy stores --store "$3" --management http://127.0.0.1:8081 --token-file "$folder"
kill -TERM $server
code=0; wait $server || code=$?
echo $code
stat -c %u "$folder/torchserve.log"
"""


@dataclass(frozen=True)
class Done:
    """How the command line ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    stores_ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    """Return a function that runs gridline on `stores_ledger`, in this process: a new one loads torch for seconds."""
    monkeypatch.setenv("GRIDLINE_STORE", stores_ledger.uri)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run_once(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, captured.out, captured.err)

    return run_once


@contextmanager
def serving(*arguments: str, ledger: Ledger) -> Iterator[subprocess.Popen[str]]:
    """Run `gridline serve` as a process until the block ends."""
    with running("serve", "stores", "--store", ledger.uri, "--json", *GIVEN_PORTS, *arguments) as process:
        yield process


TIMED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3} \[")
BODY = {"dataset": "north", "instances": [[3, 1]]}


def worker_of(folder: Path) -> int:
    """Return the process id of the only worker of a server."""
    [pid] = [pid for pid in processes_with(str(folder)) if "model_service_worker" in command_of(pid)]
    return pid


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def client_of(document: dict[str, Any]) -> httpx.Client:
    auth = BearerKey(Path(document["token_file"]), "inference")
    return httpx.Client(auth=auth, timeout=30.0, trust_env=False)


@pytest.mark.torchserve
def test_serve_holds_its_folder_and_finishes_what_is_in_flight(
    run: Callable[..., Done], stores_ledger: Ledger, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "torchserve.log").write_bytes(b"2026-01-01T00:00:00,000 [INFO ] an earlier line\n" * 250_000)
    with serving("--folder", str(folder), ledger=stores_ledger) as process:
        document = started(process)
        keys = (folder / "key_file.json").read_text()
        assert document["grpc"] is None
        assert [httpx.get(document["status_url"] + path).status_code for path in ("/livez", "/readyz")] == [200, 200]
        assert listening(document["pid"]) == 3
        refused = run(
            "serve", "stores", "--folder", str(folder), *(word for one in PORT_OPTIONS for word in (one, "0"))
        )
        assert refused.returncode == 4
        assert f"in use by the server of process {process.pid}: end that, or set --folder to another" in refused.stderr
        assert (folder / "key_file.json").read_text() == keys
        assert ((folder / "key_file.json").stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
        with client_of(document) as client, ThreadPoolExecutor(2) as pool:
            assert client.post(document["url"], json=BODY).status_code == 200
            worker = worker_of(folder)
            os.kill(worker, signal.SIGSTOP)
            in_flight = [pool.submit(client.post, document["url"], json=BODY) for _ in range(2)]
            until(lambda: num_pending(document) == 1)  # one is in the worker, one waits for it
            process.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
            os.kill(worker, signal.SIGCONT)
            assert [one.result().status_code for one in in_flight] == [200, 200]
        assert process.wait(timeout=60) == 0
    assert processes_with(str(folder)) == []
    log = (folder / "torchserve.log").read_text()
    assert "model_name: stores" in log
    assert [line for line in log.splitlines() if not TIMED.match(line)] == []
    assert json.loads(keys)["inference"]["key"] not in log
    assert "an earlier line" in (folder / "torchserve.log.1").read_text()[:100]


def listening(pid: int) -> int:
    """Return how many TCP ports a process listens to."""
    return sum(one.status == psutil.CONN_LISTEN for one in psutil.Process(pid).net_connections("tcp"))


def num_pending(document: dict[str, Any]) -> int:
    with Management(document["management_url"], Path(document["token_file"])) as management:
        return management.describe("stores", "1").num_pending


@pytest.mark.torchserve
@pytest.mark.parametrize(
    ("how", "when_ready", "code"),
    [
        (signal.SIGINT, False, 0),
        (signal.SIGHUP, False, 0),
        (signal.SIGKILL, False, -signal.SIGKILL),
        (signal.SIGKILL, True, -signal.SIGKILL),
    ],
)
def test_serve_ended_by_any_signal_leaves_nothing(
    stores_ledger: Ledger, tmp_path: Path, how: signal.Signals, when_ready: bool, code: int
) -> None:
    folder = tmp_path / "s"
    with serving("--folder", str(folder), ledger=stores_ledger) as process:
        if when_ready:
            started(process)
        else:
            until((folder / "key_file.json").exists)  # Java runs, the worker does not yet
        if how is signal.SIGHUP:
            process.stderr.close()  # as the terminal does that hangs up
        process.send_signal(how)
        assert process.wait(timeout=60) == code
    until(lambda: processes_with(str(folder)) == [])
    with held(folder):
        assert (folder / "serve.lock").exists()


@pytest.mark.torchserve
@pytest.mark.parametrize(("grace_s", "num_signals"), [("1", 1), ("60", 2)])
def test_serve_ends_in_time_whatever_a_worker_does(
    stores_ledger: Ledger, tmp_path: Path, grace_s: str, num_signals: int
) -> None:
    folder = tmp_path / "s"
    with serving("--folder", str(folder), "--grace-s", grace_s, ledger=stores_ledger) as process:
        document = started(process)
        os.kill(worker_of(folder), signal.SIGSTOP)
        with client_of(document) as client, ThreadPoolExecutor(2) as pool:
            cut = [pool.submit(client.post, document["url"], json=BODY) for _ in range(2)]
            until(lambda: num_pending(document) >= 1)  # the self check may wait as well
            waiting = num_pending(document)
            if num_signals == 1:
                os.kill(document["pid"], signal.SIGSTOP)  # Java too
            process.terminate()
            if num_signals == 2:
                until(lambda: num_pending(document) > waiting)  # the marker of the first signal waits as well
                process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
            assert [type(one.exception()) for one in cut] == [httpx.ReadError] * 2
    assert process.returncode == 0
    assert ("were still in flight after 1 s, and were cut: set --grace-s to more" in errors) == (num_signals == 1)
    assert errors.splitlines()[-1].endswith(" INFO stopped")
    assert processes_with(str(folder)) == []


@pytest.mark.torchserve
def test_serve_refuses_a_taken_port_at_once(
    run: Callable[..., Done], served_stores: ServedStores, tmp_path: Path
) -> None:
    taken = str(served_stores.server.settings.ports.inference)
    others = [word for option in PORT_OPTIONS[1:] for word in (option, "0")]
    done = run("serve", "stores", "--folder", str(tmp_path / "s"), "--port", taken, *others)
    assert done.returncode == 4
    assert f"port {taken} of 127.0.0.1 is taken by another program: set --port to another" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert processes_with(str(tmp_path / "s")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "8081"], "port 8081 is given for --port and for --management-port"),
        (["--port", "70000"], "'--port': Input should be less than or equal to 65535"),
        (["--port", "0", "--host", "192.0.2.1"], "192.0.2.1 is no address of this machine: set --host"),
    ],
)
def test_serve_refuses_ports_and_addresses_that_can_not_be(
    run: Callable[..., Done], tmp_path: Path, options: list[str], message: str
) -> None:
    done = run("serve", "stores", "--folder", str(tmp_path / "s"), *options)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr


@pytest.mark.torchserve
def test_a_server_that_dies_takes_its_workers_along(stores_ledger: Ledger, tmp_path: Path) -> None:
    archive = archive_of(stores_ledger, stores_ledger.version("stores"), tmp_path / "archives")
    with serving_here(archive, ServerSettings(tmp_path / "s", ports=with_free(ANY_PORTS))) as server:
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: server.exit_code() is not None)
        assert server.exit_code() == -signal.SIGKILL
    until(lambda: processes_with(str(tmp_path / "s")) == [])  # workers end when they notice that Java has ended


@pytest.mark.torchserve
def test_a_draining_server_refuses_with_503_and_closes_the_connection(served_stores: ServedStores) -> None:
    control = served_stores.server.settings.control
    refuse_requests(control)
    try:
        refused = served_stores.client.post("/predictions/stores", json=BODY)
    finally:
        accept_requests(control)
    assert (refused.status_code, refused.headers["retry-after"], refused.headers["connection"]) == (503, "1", "close")
    assert refused.json()["type"] == "ServerStoppingError"
    assert served_stores.client.post("/predictions/stores", json=BODY).status_code == 200


@pytest.mark.torchserve
def test_no_request_fails_while_one_of_two_servers_stops(
    served_stores: ServedStores, stores_ledger: Ledger, tmp_path: Path
) -> None:
    """A client that goes to the second server when the first one refuses (503, or no connection) loses nothing."""
    with serving("--folder", str(tmp_path / "s"), ledger=stores_ledger) as process:
        document = started(process)
        with client_of(document) as first, ThreadPoolExecutor(8) as pool:

            def ask() -> tuple[str, int]:
                with suppress(httpx.ConnectError):
                    answer = first.post(document["url"], json=BODY)
                    if answer.status_code != 503:
                        return "first", answer.status_code
                return "second", served_stores.client.post("/predictions/stores", json=BODY).status_code

            before = [pool.submit(ask) for _ in range(100)]
            assert {one.result() for one in before} == {("first", 200)}
            process.terminate()
            during = []
            while process.poll() is None:
                during += [one.result() for one in [pool.submit(ask) for _ in range(8)]]
        assert process.returncode == 0
    assert {status for _, status in during} == {200}
    assert during[-1] == ("second", 200)


@pytest.mark.torchserve
@pytest.mark.parametrize("which", ["inference", "all"])
def test_keys_are_rotated_without_a_failed_request(
    run: Callable[..., Done], served_stores: ServedStores, which: str
) -> None:
    settings = served_stores.server.settings
    before = json.loads(settings.key_file.read_text())
    stop = threading.Event()

    def ask() -> list[int]:
        found = []
        while not stop.is_set():
            found.append(served_stores.client.post("/predictions/stores", json=BODY).status_code)
        return found

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        done = run(
            *("keys", "rotate", which, "--management", settings.management_url),
            *("--token-file", str(settings.folder), "--json"),
        )
        stop.set()
        assert set(asking.result()) == {200}
    rotated = ["inference"] if which == "inference" else ["inference", "management"]
    assert (done.returncode, json.loads(done.stdout)["rotated"]) == (0, rotated)
    after = json.loads(settings.key_file.read_text())
    assert [name for name in before if before[name]["key"] != after[name]["key"]] == sorted(rotated, reverse=True)
    assert settings.key_file.stat().st_mode & 0o777 == 0o600
    assert not [one["key"] for one in (*before.values(), *after.values()) if one["key"] in done.stdout + done.stderr]
    old = httpx.post(
        f"{settings.inference_url}/predictions/stores",
        json=BODY,
        headers={"Authorization": f"Bearer {before['inference']['key']}"},
    )
    assert old.json()["type"] == "InvalidKeyException"
    with served_stores.management() as management:
        assert management.default_version("stores") == "1"


@pytest.mark.torchserve
def test_serve_and_deploy_need_one_writable_folder_and_no_rights(stores_ledger: Ledger, tmp_path: Path) -> None:
    """On a read-only root, as another user, at an IPv6 address: nothing is written but in the folder of the server."""
    may_mount = shutil.which("unshare") and subprocess.run([*NAMESPACES, "true"], check=False).returncode == 0
    if os.geteuid() != 0 or not may_mount or not Path("/proc/net/if_inet6").exists() or not shutil.which("ip"):
        pytest.skip("needs IPv6, ip (apt-get install iproute2), and the rights of root to become another user")
    writable = tmp_path / "w"
    writable.mkdir()
    store = shutil.copytree(stores_ledger.uri, writable / "store")
    for path in (writable, *writable.rglob("*")):
        os.chown(path, 1000, 1000)
    needed = [sys.base_prefix, *PACKAGES, Path(sys.executable).parents[1], ROOT]
    script = ["bash", "-c", SERVE_AND_DEPLOY, "gridline", writable, sys.executable, store, ROOT]
    done = subprocess.run(
        [*NAMESPACES, "bash", READ_ONLY_ROOT, *needed, "--", f"{writable}:{writable}", "--", *script],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.splitlines()[-4:] == ["2.4219071", "version 1 of stores serves already", "0", "1000"], done
    assert "Traceback" not in done.stderr + done.stdout
