from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from model_store.asgi.bodies import LARGE_BYTES, MAX_LARGE, Body, BodyLimits, DisconnectedError
from model_store.asgi.refusals import RefusedError


def read(messages: Sequence[dict[str, Any]], first: bytes = b"", limit: int = 8) -> bytes:
    """Return what a reader makes of these messages."""
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    return asyncio.run(Body(BodyLimits(limit)).read(receive, first))


def more(body: bytes, *, last: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": not last}


def test_a_body_is_the_pieces_in_their_order() -> None:
    assert read([more(b"bc"), more(b"d", last=True)], b"a") == b"abcd"
    assert read([more(b"", last=True)], b"x" * 8) == b"x" * 8


@pytest.mark.parametrize("messages", [[more(b"x"), more(b"x" * 8)], [more(b"x" * 9, last=True)]])
def test_a_body_beyond_the_limit_is_refused_before_all_of_it_came(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(RefusedError) as caught:
        read(messages)
    assert caught.value.response.status == 413
    assert b"8 bytes" in caught.value.response.body


def test_a_body_that_is_broken_off_is_told_apart() -> None:
    with pytest.raises(DisconnectedError):
        read([more(b"x"), {"type": "http.disconnect"}])


def test_large_bodies_beyond_their_number_are_refused_and_leave_room_again() -> None:
    limits = BodyLimits(10 * LARGE_BYTES, MAX_LARGE - 1)
    with Body(limits) as one, Body(limits) as another:
        one.check(LARGE_BYTES + 1)
        one.check(LARGE_BYTES + 2)
        another.check(LARGE_BYTES)
        with pytest.raises(RefusedError) as caught:
            another.check(LARGE_BYTES + 1)
        assert caught.value.response.status == 503
        assert caught.value.response.headers == {"retry-after": "1"}
        assert limits.num_large == MAX_LARGE
    assert limits.num_large == MAX_LARGE - 1
