"""What is said of a token that a cluster refuses; the cluster is a gRPC server that asks for one, as Ray does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from jobs.cluster.joining import require_access
from jobs.errors import ClusterError

RIGHT = "r" * 64
WRONG = "w" * 64


class _Guard(grpc.ServerInterceptor):
    def intercept_service(self, continuation, details):  # type: ignore[no-untyped-def]
        if ("authorization", f"Bearer {RIGHT}") in details.invocation_metadata:
            return continuation(details)
        refuse = lambda _, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")  # noqa: E731
        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A server that takes the right token alone, at HOST:PORT."""
    with ThreadPoolExecutor() as pool:
        server = grpc.server(pool, interceptors=[_Guard()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token, and an environment without Ray's variables."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def refusal(target: str) -> str:
    with pytest.raises(ClusterError) as caught:
        require_access(target)
    message = str(caught.value)
    assert WRONG not in message and "\n" not in message
    assert message.startswith(f"no access to the Ray cluster at '{target}': ")
    return message.partition("': ")[2]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_the_right_token_is_taken_and_the_others_are_refused_with_what_to_set(
    guarded: str, scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = scheme + guarded
    assert refusal(target).startswith("it asks for a token, and none was found: set RAY_AUTH_MODE=token and ")
    monkeypatch.setenv("RAY_AUTH_TOKEN", RIGHT)
    assert "set RAY_AUTH_MODE=token, so that the one of RAY_AUTH_TOKEN is sent" in refusal(target)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    require_access(target)
    monkeypatch.setenv("RAY_AUTH_TOKEN", WRONG)
    assert refusal(target).startswith("it refuses the token of RAY_AUTH_TOKEN: set RAY_AUTH_TOKEN, or ")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "absent"))
    assert refusal(target).startswith("RAY_AUTH_MODE is token, and no token was found: set RAY_AUTH_TOKEN, ")


def test_auto_sends_the_token_of_the_home_folder_as_ray_does(
    guarded: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", guarded)
    assert refusal("auto").startswith("it asks for a token, and none was found")
    (home / ".ray").mkdir()
    token = home / ".ray" / "auth_token"
    token.write_text(f"{RIGHT}\n")
    require_access("auto")
    assert "set RAY_AUTH_MODE=token, so that the one of the file" in refusal(guarded)
    token.write_text(WRONG)
    assert refusal("auto").startswith(f"it refuses the token of the file '{token}'")


def test_auto_finds_the_head_that_was_started_last_on_this_machine(
    guarded: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    require_access("auto")  # there is none: Ray says so itself
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(guarded)
    assert "it asks for a token" in refusal("auto")


def test_what_asks_for_no_token_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor() as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        require_access(f"127.0.0.1:{port}")
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", RIGHT)
        require_access(f"127.0.0.1:{port}")
        server.stop(None).wait()


def test_a_port_where_nobody_listens_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match=r"no Ray cluster at '127\.0\.0\.1:1'"):
        require_access("127.0.0.1:1")
