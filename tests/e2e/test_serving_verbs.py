"""`gridline predict` and `package` on a store of models: what they print, and how they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from model_store.ledger.ledger import Ledger
from tests.servers import command_line

Run = Callable[..., command_line.Answer]


@pytest.fixture
def run(stores_ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs gridline on `stores_ledger`, in this process."""
    monkeypatch.setenv("GRIDLINE_STORE", stores_ledger.uri)
    return partial(command_line.run, capsys)


def test_predict_prints_the_document_of_the_endpoint(run: Run) -> None:
    done = run("predict", "stores", "--dataset", "north", "--set", "area=3", "--set", "depth=1", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert list(document) == ["predictions", "model"]
    assert document["model"] == {"collection": "stores", "version": 1, "dataset": "north"}


def test_predict_reads_a_file_with_a_column_of_datasets(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("dataset,area,depth,other\nnorth,3,1,x\nsouth,3,,y\nnorth,4,2,z\n")
    done = run("predict", "stores", "--input", str(path), "--json", "--interval", "0.9")
    assert done.code == 0, done.err
    document = json.loads(done.out)
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
def test_predict_refuses_in_one_line_with_exit_code_2(run: Run, arguments: list[str], message: str) -> None:
    done = run("predict", *arguments)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""


def test_package_writes_the_archive_and_says_what_it_is(run: Run, tmp_path: Path) -> None:
    done = run("package", "stores", "--out", str(tmp_path), "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert Path(document["archive"]) == tmp_path / "stores.mar"
    assert document["size_bytes"] == (tmp_path / "stores.mar").stat().st_size
