from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_store.asgi.keys import is_key, new_keys, read_keys
from model_store.deployment.errors import ServerError
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


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    keys, path = new_keys(), tmp_path / "keys.json"
    keys.write(path)
    assert read_keys(path) == keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't be read: No such file or directory; check --keys"),
        ("{", 'is not {"inference": {"key": …}'),
        ('{"inference": {"key": "sekret"}}', 'is not {"inference": {"key": …}'),
        (json.dumps({name: {"key": f"sekret-{name}"} for name in ("inference", "management", "API")}), "32 characters"),
        (json.dumps({name: {"key": "sekret" * 9} for name in ("inference", "management", "API")}), "different keys"),
    ],
)
def test_keys_that_can_not_be_used_are_refused_without_telling_them(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "keys.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ServerError) as caught:
        read_keys(path)
    assert message in str(caught.value)
    assert "sekret" not in str(caught.value)
