"""`gridline package`, `predict` and `serve` as processes: what they print, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from jobs.cli import main
from model_store.archives.stored import archive_of
from model_store.ledger.ledger import Ledger
from model_store.serving.ports import with_free
from model_store.serving.settings import ServerSettings
from model_store.torchserve.serving import serving as serving_here
from tests.servers.torchserve import ANY_PORTS, ServedStores, processes_with, until

GRIDLINE = [sys.executable, "-m", "jobs"]
ANY_PORT = [f"--{name}" for name in ("port", "management-port", "metrics-port", "grpc-port", "grpc-management-port")]


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
    ports = [word for option in ANY_PORT for word in (option, "0")]
    command = [*GRIDLINE, "serve", "stores", "--store", ledger.uri, "--json", *ports, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_predict_prints_the_document_of_the_endpoint(run: Callable[..., Done]) -> None:
    done = run("predict", "stores", "--dataset", "north", "--set", "area=3", "--set", "depth=1", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert list(document) == ["predictions", "model"]
    assert document["model"] == {"collection": "stores", "version": 1, "dataset": "north"}


def test_predict_reads_a_file_with_a_column_of_datasets(run: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("dataset,area,depth,other\nnorth,3,1,x\nsouth,3,,y\nnorth,4,2,z\n")
    done = run("predict", "stores", "--input", str(path), "--json", "--interval", "0.9")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["model"]["dataset"] == ["north", "south", "north"]
    assert len(document["intervals"]["prediction"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stores", "--set", "area=3"], "has 4 datasets: set --dataset"),
        (["stores", "--dataset", "north", "--set", "area"], "is not name=value"),
        (["stores", "--dataset", "north", "--set", "area=1", "--set", "area=2"], "gives 'area' twice"),
        (["stores", "--dataset", "north"], "with --set FEATURE=VALUE"),
        (["stores", "--dataset", "west", "--set", "area=3"], "dataset 'west' is not in version 1"),
        (["stores", "--dataset", "north", "--set", "aera=3"], "feature 'aera' is not known"),
        (["nothing", "--dataset", "north", "--set", "area=3"], "collection 'nothing' is not in"),
        (["stores", "--input", "nowhere.csv"], "nowhere.csv: no such file"),
    ],
)
def test_predict_refuses_in_one_line_with_exit_code_2(
    run: Callable[..., Done], arguments: list[str], message: str
) -> None:
    done = run("predict", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_package_writes_the_archive_and_says_what_it_is(run: Callable[..., Done], tmp_path: Path) -> None:
    done = run("package", "stores", "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert Path(document["archive"]) == tmp_path / "stores.mar"
    assert document["size_bytes"] == (tmp_path / "stores.mar").stat().st_size


@pytest.mark.torchserve
def test_serve_answers_and_ends_cleanly_on_sigterm(stores_ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with serving("--folder", str(folder), ledger=stores_ledger) as process:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        key = json.loads(Path(document["token_file"]).read_text())["inference"]["key"]
        response = httpx.post(
            document["url"],
            json={"dataset": "north", "instances": [[3, 1]]},
            headers={"Authorization": f"Bearer {key}"},
        )
        assert response.status_code == 200
        assert (folder / "key_file.json").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        assert key not in Path(document["log"]).read_text()
        process.terminate()
        assert process.wait(timeout=60) == 0
    assert processes_with(str(folder)) == []


@pytest.mark.torchserve
def test_serve_interrupted_while_it_starts_leaves_nothing(stores_ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with serving("--folder", str(folder), ledger=stores_ledger) as process:
        until((folder / "key_file.json").exists)  # Java runs, the worker does not yet
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert processes_with(str(folder)) == []


@pytest.mark.torchserve
def test_serve_refuses_a_taken_port_at_once(
    run: Callable[..., Done], served_stores: ServedStores, tmp_path: Path
) -> None:
    taken = str(served_stores.server.settings.ports.inference)
    others = [word for option in ANY_PORT[1:] for word in (option, "0")]
    done = run("serve", "stores", "--folder", str(tmp_path / "s"), "--port", taken, *others)
    assert done.returncode == 4
    assert f"port {taken} of 127.0.0.1 is taken by another program: set --port to another" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert processes_with(str(tmp_path / "s")) == []


@pytest.mark.torchserve
def test_a_server_that_dies_takes_its_workers_along(stores_ledger: Ledger, tmp_path: Path) -> None:
    archive = archive_of(stores_ledger, stores_ledger.version("stores"), tmp_path / "archives")
    with serving_here(archive, ServerSettings(tmp_path / "s", ports=with_free(ANY_PORTS))) as server:
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
    until(lambda: processes_with(str(tmp_path / "s")) == [])  # workers end when they notice that Java has ended
