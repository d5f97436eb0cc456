"""The verbs that take models back and release them: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import main
from model_store import open_ledger
from tests.samples.models import commit

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a store with two versions of a collection; the second has better models of both datasets."""
    store = str(tmp_path / "store")
    monkeypatch.setenv("GRIDLINE_STORE", store)
    for value in (2.0, 1.0):
        commit(open_ledger(store), "plants", {"a": value, "b": value})
    return store


def run(capsys: Capture, *arguments: str) -> tuple[int, str]:
    """Return the exit code of a verb, and what it printed, without line breaks."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), " ".join(f"{captured.out} {captured.err}".split())


def document(capsys: Capture, *arguments: str) -> dict[str, Any]:
    """Return the document of a verb that succeeds."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    assert not ended.value.code
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


def test_rollback_says_what_it_withdraws_and_the_history_why(store: str, capsys: Capture) -> None:
    code, said = run(capsys, "models", "rollback", "plants", "--version", "1", "--reason", "wrong labels")
    assert (code, said) == (
        0,
        "plants is at version 3, with the champions of version 1 champions of version 2 are withdrawn by the rollback "
        "to version 1 (version 3: wrong labels)",
    )
    assert "rollback 2 datasets to version 1: wrong labels" in run(capsys, "models", "history", "plants")[1]
    newest, *older = document(capsys, "models", "history", "plants")["versions"]
    assert (newest["reason"], newest["action"]) == ("wrong labels", "rollback")
    assert [version["reason"] for version in older] == [None, None]
    assert "are withdrawn by the rollback to version 1" in run(capsys, "models", "list", "plants")[1]
    withdrawal = {"rollback": 3, "restored": 1, "versions": [2], "reason": "wrong labels"}
    assert document(capsys, "models", "list", "plants")["withdrawals"] == [withdrawal]
    assert document(capsys, "models", "show", "plants", "a")["withdrawals"] == [withdrawal]


def test_rollback_and_release_of_some_datasets(store: str, capsys: Capture) -> None:
    rolled = document(capsys, "models", "rollback", "plants", "b", "--version", "1")
    assert (rolled["version"], rolled["note"]) == (3, "to version 1 of 'b'")
    assert document(capsys, "models", "show", "plants", "a")["withdrawals"] == []
    released = document(capsys, "models", "release", "plants", "b")
    assert released == {"collection": "plants", "version": 4, "note": "of 'b'", "withdrawals": []}
    assert document(capsys, "models", "history", "plants")["versions"][0]["action"] == "release"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["release", "plants"], "collection 'plants': no model is withdrawn: 'gridline models history plants' lists"),
        (["release", "trees"], "collection 'trees' is not in"),
        (["rollback", "plants", "typo", "--version", "1"], "dataset 'typo' is not in version 1"),
        (["rollback", "plants", "--version", "9"], "has versions 1 to 2, and not 9"),
    ],
)
def test_what_is_not_there_is_refused(store: str, capsys: Capture, arguments: list[str], message: str) -> None:
    code, said = run(capsys, "models", *arguments)
    assert code == 2 and message in said
    assert open_ledger(store).version("plants").number == 2
