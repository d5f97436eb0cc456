from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pytest

from model_store.deployment.errors import ServerError
from model_store.torchserve.client import BearerKey, read_key


def write_keys(path: Path, key: str) -> None:
    path.write_text(json.dumps({"inference": {"key": key}, "management": {"key": f"m-{key}"}}))


def test_a_key_file_may_be_named_by_its_folder(tmp_path: Path) -> None:
    write_keys(tmp_path / "key_file.json", "one")
    assert read_key(tmp_path, "inference") == read_key(tmp_path / "key_file.json", "inference") == "one"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't be read"),
        ("{", "has no inference key"),
        ("[]", "has no inference key"),
        ('{"management": {"key": "sekret"}}', "has no inference key"),
    ],
)
def test_a_key_file_that_is_none_is_refused_without_telling_keys(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "key_file.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ServerError, match=message) as caught:
        read_key(path, "inference")
    assert "sekret" not in str(caught.value)


def server_with(key: list[str], seen: list[str]) -> httpx.MockTransport:
    """Return a server that takes one key, and refuses others as TorchServe does."""

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        if seen[-1] == f"Bearer {key[0]}":
            return httpx.Response(200, json={})
        return httpx.Response(400, json={"code": 400, "type": "InvalidKeyException", "message": "no"})

    return httpx.MockTransport(answer)


def test_a_refused_key_is_read_anew_once(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    write_keys(path, "one")
    key, seen = ["one"], list[str]()
    auth = BearerKey(path, "inference")
    with httpx.Client(transport=server_with(key, seen), auth=auth, base_url="http://server") as client:
        assert client.get("/").status_code == 200
        key[0] = "two"
        write_keys(path, "two")
        assert client.get("/").status_code == 200
        key[0] = "three"
        assert client.get("/").status_code == 400
    assert seen == ["Bearer one", "Bearer one", "Bearer two", "Bearer two"]


def test_a_key_that_is_refused_before_the_file_has_the_new_one_is_awaited(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    write_keys(path, "one")
    key, seen = ["one"], list[str]()
    rewriting = threading.Timer(0.05, write_keys, (path, "two"))
    auth = BearerKey(path, "inference")
    with httpx.Client(transport=server_with(key, seen), auth=auth, base_url="http://server") as client:
        client.get("/")
        key[0] = "two"
        path.write_text('{"inference": {"key": "on')  # as a server that rewrites the file leaves it for a moment
        rewriting.start()
        assert client.get("/").status_code == 200
        rewriting.join()
    assert seen == ["Bearer one", "Bearer one", "Bearer two"]


def test_another_refusal_does_not_ask_twice(tmp_path: Path) -> None:
    write_keys(tmp_path / "key_file.json", "one")
    asked: list[int] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(400, json={"code": 400, "type": "PayloadError", "message": "no"})

    auth = BearerKey(tmp_path, "inference")
    with httpx.Client(transport=httpx.MockTransport(refuse), auth=auth, base_url="http://server") as client:
        client.get("/")
        client.get("/")
    assert len(asked) == 2
