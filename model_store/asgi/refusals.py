"""What this host refuses, in TorchServe's words: clients read the status, and some of them the type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

JSON_TYPE = "application/json"


@dataclass(frozen=True)
class Response:
    """A response that needs no models; it has the names of an `Answer` of the handler."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """A request is refused before its end, or by the management API; `response` says why, in TorchServe's words."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


HEALTHY = Response(HTTPStatus.OK, b'{\n  "status": "Healthy"\n}\n')


def said(status: int, document: object) -> Response:
    """Return a response with a document as TorchServe writes its own."""
    return Response(
        status, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
    )


def refused(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a refusal: `kind` is the name of TorchServe's exception."""
    body = said(status, {"code": int(status), "type": kind, "message": message}).body
    return Response(status, body, headers=headers or {})


def no_key(word: str = "Authorization") -> Response:
    return refused(
        HTTPStatus.BAD_REQUEST,
        "InvalidKeyException",
        f"Token {word} failed. Token either incorrect, expired, or not provided correctly",
    )


def no_resource() -> Response:
    message = "Requested resource is not found, please refer to API document."
    return refused(HTTPStatus.NOT_FOUND, "ResourceNotFoundException", message)


def not_ready() -> Response:
    return refused(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException", "A collection has no workers yet")


def no_method() -> Response:
    message = "Requested method is not allowed, please refer to API document."
    return refused(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowedException", message)


def no_model(collection: str) -> Response:
    return refused(HTTPStatus.NOT_FOUND, "ModelNotFoundException", f"Model not found: {collection}")


def no_version(collection: str, version: str) -> Response:
    message = f"Model version: {version} does not exist for model: {collection}"
    return refused(HTTPStatus.NOT_FOUND, "ModelVersionNotFoundException", message)


def no_workers(collection: str) -> Response:
    message = (
        f'Model "{collection}" has no worker to serve inference request. Please use scale workers API to add workers. '
        "If this is a sequence inference, please check if it is closed, or expired; or exceeds maxSequenceJobQueueSize"
    )
    return refused(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)


def busy() -> Response:
    message = "Too many large requests are being answered: send this one again"
    return refused(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException", message, {"retry-after": "1"})


def too_large(limit_bytes: int) -> Response:
    message = f"The body is larger than {limit_bytes} bytes (max_request_size): send fewer instances at a time"
    return refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLargeException", message)


def wrong(message: str) -> Response:
    return refused(HTTPStatus.BAD_REQUEST, "BadRequestException", message)
