"""An ASGI application that does nothing: what the server itself costs."""

from collections.abc import Awaitable, Callable
from typing import Any

BODY = b'{"predictions": [2.4], "model": {"collection": "m", "version": 1, "dataset": "d"}}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
Message = dict[str, Any]


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Awaitable[None]]) -> None:
    """Read a request, and answer it with the same bytes as every other."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
