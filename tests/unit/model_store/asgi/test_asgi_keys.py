from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_store.asgi.keys import is_key, new_keys
from model_store.torchserve.client import read_key


def test_keys_are_in_the_file_that_clients_read_and_only_its_owner_can(tmp_path: Path) -> None:
    keys, path = new_keys(), tmp_path / "key_file.json"
    keys.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (read_key(path, "inference"), read_key(path, "management")) == (keys.inference, keys.management)
    assert json.loads(path.read_text())["API"] == {"key": keys.tokens}
    assert [entry.name for entry in tmp_path.iterdir()] == ["key_file.json"]


def test_keys_rotated_differ_in_one() -> None:
    keys = new_keys()
    rotated = keys.rotated("inference")
    assert rotated.inference != keys.inference
    assert (rotated.management, rotated.tokens) == (keys.management, keys.tokens)


def test_keys_are_not_in_their_repr() -> None:
    keys = new_keys()
    assert keys.inference not in repr(keys)
    assert len({keys.inference, keys.management, keys.tokens}) == 3
    assert len(keys.inference) >= 40


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer kez", "bearer key", "key", "Bearer key ", "Bearer ké"]
)
def test_key_that_is_wrong_is_none(header: str) -> None:
    assert not is_key(header, "key")


def test_key_that_is_right_is_one() -> None:
    assert is_key("Bearer key", "key")
