"""`gridline package`, `predict` and `serve` as processes: what they print, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_store.ledger import Ledger
from tests.servers.torchserve import processes_with, until

GRIDLINE = [sys.executable, "-m", "jobs"]
ANY_PORT = [f"--{name}" for name in ("port", "management-port", "metrics-port", "grpc-port", "grpc-management-port")]


def run(*arguments: str, ledger: Ledger) -> subprocess.CompletedProcess[str]:
    """Run gridline on this store, and return how it ended."""
    environment = os.environ | {"GRIDLINE_STORE": ledger.uri}
    return subprocess.run([*GRIDLINE, *arguments], capture_output=True, text=True, env=environment, check=False)


@contextmanager
def serving(*arguments: str, ledger: Ledger) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run `gridline serve` until the block ends; yield its process and the document that it prints."""
    ports = [word for option in ANY_PORT for word in (option, "0")]
    command = [*GRIDLINE, "serve", "stores", "--store", ledger.uri, "--json", *ports, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_predict_prints_the_document_of_the_endpoint(stores_ledger: Ledger) -> None:
    done = run(
        "predict", "stores", "--dataset", "north", "--set", "area=3", "--set", "depth=1", "--json", ledger=stores_ledger
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert list(document) == ["predictions", "model"]
    assert document["model"] == {"collection": "stores", "version": 1, "dataset": "north"}


def test_predict_reads_a_file_with_a_column_of_datasets(stores_ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("dataset,area,depth,other\nnorth,3,1,x\nsouth,3,,y\nnorth,4,2,z\n")
    done = run("predict", "stores", "--input", str(path), "--json", "--interval", "0.9", ledger=stores_ledger)
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
        (["stores", "--input", "nowhere.csv"], "nowhere.csv can't be read"),
    ],
)
def test_predict_refuses_in_one_line_with_exit_code_2(
    stores_ledger: Ledger, arguments: list[str], message: str
) -> None:
    done = run("predict", *arguments, ledger=stores_ledger)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_package_writes_the_archive_and_says_what_it_is(stores_ledger: Ledger, tmp_path: Path) -> None:
    done = run("package", "stores", "--out", str(tmp_path), "--json", ledger=stores_ledger)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert Path(document["archive"]) == tmp_path / "stores.mar"
    assert document["size_bytes"] == (tmp_path / "stores.mar").stat().st_size


@pytest.mark.torchserve
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly_on_a_signal(stores_ledger: Ledger, tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "s"
    with serving("--folder", str(folder), ledger=stores_ledger) as (process, document):
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
        process.send_signal(how)
        assert process.wait(timeout=60) == 0
    assert processes_with(str(folder)) == []


@pytest.mark.torchserve
def test_serve_says_why_it_could_not_start(stores_ledger: Ledger, tmp_path: Path) -> None:
    with serving("--folder", str(tmp_path / "s"), ledger=stores_ledger) as (_, document):
        taken = document["url"].split(":")[2].split("/")[0]
        others = [word for option in ANY_PORT[1:] for word in (option, "0")]
        done = run("serve", "stores", "--port", taken, *others, ledger=stores_ledger)
    assert done.returncode == 4
    assert "TorchServe" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.torchserve
def test_serve_ends_with_torchserve(stores_ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with serving("--folder", str(folder), ledger=stores_ledger) as (process, document):
        os.kill(document["pid"], signal.SIGKILL)
        assert process.wait(timeout=60) == 4
        until(lambda: processes_with(str(folder)) == [])
