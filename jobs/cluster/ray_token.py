"""The token of a Ray cluster: ask the cluster whether it takes it, before Ray itself tries for half a minute.

Ray reads RAY_AUTH_MODE (`token` or `disabled`), and the token from RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH or
~/.ray/auth_token. Without RAY_AUTH_MODE it sends a token only to a cluster of this machine that it has found itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import grpc

from jobs.errors import ClusterError

ANSWER_S = 10.0
OF_HEAD = "/ray.rpc.NodeInfoGcsService/CheckAlive"
OF_CLIENT_SERVER = "/ray.rpc.RayletDriver/ClusterInfo"
WHERE = "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to the file that holds it"


@dataclass(frozen=True)
class RayToken:
    """What this process sends to a cluster: nothing if `value` is None; `source` says where the token was found."""

    value: str | None
    source: str


def own_token() -> RayToken | None:
    """Return the token that Ray finds, whether it sends it or not; None if there is none."""
    if value := os.environ.get("RAY_AUTH_TOKEN"):
        return RayToken(value.strip(), "RAY_AUTH_TOKEN")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return RayToken(path.read_text().strip() or None, f"the file '{path}'")
    except (OSError, UnicodeDecodeError):
        return None


def require_token(target: str, address: str) -> None:
    """Raise ClusterError if the cluster at `address`, a HOST:PORT, refuses the token that Ray would send to it.

    `target` is what the user gave. A cluster that gives any other answer, or none, is left to Ray.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    token = own_token()
    if mode == "token" and (token is None or token.value is None):
        raise _refusal(target, f"RAY_AUTH_MODE is token, and no token was found: set {WHERE}")
    is_sent = mode == "token" or (not mode and target == "auto")
    method = OF_CLIENT_SERVER if target.startswith("ray://") else OF_HEAD
    if os.environ.get("RAY_USE_TLS", "0") in {"0", ""} and _is_refused(address, method, token if is_sent else None):
        raise _refusal(target, _remedy(token, is_sent))


def _is_refused(address: str, method: str, token: RayToken | None) -> bool:
    metadata = [("authorization", f"Bearer {token.value}")] if token and token.value else []
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=ANSWER_S, metadata=metadata)
        except grpc.RpcError as exc:
            return bool(exc.code() == grpc.StatusCode.UNAUTHENTICATED)
    return False


def _remedy(token: RayToken | None, is_sent: bool) -> str:
    if token is None or token.value is None:
        return f"it asks for a token, and none was found: set RAY_AUTH_MODE=token and {WHERE}"
    if not is_sent:
        return f"it asks for a token: set RAY_AUTH_MODE=token, so that the one of {token.source} is sent"
    return f"it refuses the token of {token.source}: set {WHERE} to the token with which the cluster was started"


def _refusal(target: str, reason: str) -> ClusterError:
    return ClusterError(f"no access to the Ray cluster at '{target}': {reason}")
