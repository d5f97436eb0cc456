"""What is read as a commit: only what `version_json` wrote, even where the checksum of something else fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_store import open_ledger
from model_store.errors import CorruptObjectError
from model_store.ledger.champion_table import rows_to_table
from model_store.ledger.version_json import _digest, version_json
from model_store.ledger.versions import Draft

ROWS = [
    {"dataset": name, "checkpoint": "0" * 64, "checkpoint_size": 1, "row": 0, "statistics": "1" * 64}
    | {"statistics_size": 2, "score": 1.5}
    for name in ("a", "b")
]
NOT_EVEN_JSON = [b"", b"null", b"[]", b"1", b"\xff\xfe", b"[" * 200_000, b"9" * 10_000, b'{"format": NaN}', b"\x00"]
WRONG_VALUES: list[tuple[tuple[str | int, ...], Any]] = [
    (("number",), float("inf")),
    (("number",), True),
    (("num_datasets",), 2.0),
    (("created_at",), float("nan")),
    (("commit_id",), None),
    (("note",), ["x"]),
    (("parent",), 7),
    (("run_id",), {}),
    (("action",), "delete"),
    (("rows", 0, "row"), 10**30),
    (("rows", 0, "checkpoint"), 5),
    (("rows", 0, "statistics_size"), None),
    (("rows", 0, "dataset"), "z"),
    (("rows", 1, "dataset"), "a"),
    (("rows",), None),
    (("parts",), [{"first": None, "num_rows": 2, "sha256": "0" * 64, "size": 1}]),
    (("parts",), [{"first": "a", "num_rows": "2", "sha256": "0" * 64, "size": 1}]),
    (("parts",), [{"first": "a", "num_rows": 2, "sha256": "../x", "size": 1}]),
]


@pytest.fixture
def commit(tmp_path: Path) -> Path:
    """Return the file of a commit, with its two rows."""
    ledger = open_ledger(str(tmp_path))
    ledger.objects.put(f"blobs/{'0' * 64}.safetensors", b"0")
    ledger.objects.put(f"blobs/{'1' * 64}.safetensors", b"00")
    ledger.transact("c", lambda head: Draft(rows_to_table(ROWS), "run"))
    return tmp_path / "versions/c/00000000000000000001.json"


@pytest.mark.parametrize("data", NOT_EVEN_JSON, ids=range(len(NOT_EVEN_JSON)))
def test_commit_of_any_bytes_is_refused_by_its_name(commit: Path, data: bytes) -> None:
    commit.write_bytes(data)
    with pytest.raises(CorruptObjectError, match=commit.name):
        open_ledger(str(commit.parents[2])).version("c")


@pytest.mark.parametrize(("place", "value"), WRONG_VALUES)
def test_commit_with_a_wrong_value_and_a_checksum_that_fits_is_refused(
    commit: Path, place: tuple[str | int, ...], value: Any
) -> None:
    document = json.loads(commit.read_bytes())
    inside = document["version"]
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    document["sha256"] = _digest(document["version"])
    commit.write_text(json.dumps(document))
    with pytest.raises(CorruptObjectError):
        open_ledger(str(commit.parents[2])).version("c").blobs()


def test_commit_read_and_written_again_has_the_same_bytes(commit: Path) -> None:
    assert version_json(open_ledger(str(commit.parents[2])).version("c")) == commit.read_bytes()
