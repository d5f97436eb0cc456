from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import DEFAULT_BUFFER_SIZE

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.hosting.worker_socket import buffered_reader


@contextmanager
def connection_with(pieces: list[bytes]) -> Iterator[socket.socket]:
    """Yield a connection that receives these pieces, one at a call, and then is closed."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            for piece in filter(None, pieces):
                theirs.sendall(piece)
        yield ours


@given(st.lists(st.binary(max_size=50), max_size=20), st.data())
def test_reads_are_the_bytes_that_were_sent_however_they_arrive(pieces: list[bytes], data: st.DataObject) -> None:
    sent, at = b"".join(pieces), 0
    read = buffered_reader()
    with connection_with(pieces) as connection:
        while at < len(sent):
            size_bytes = data.draw(st.integers(0, len(sent) - at))
            assert read(connection, size_bytes) == sent[at : at + size_bytes]
            at += size_bytes or 1
            if size_bytes == 0:
                assert read(connection, 1) == sent[at - 1 : at]


def test_a_read_larger_than_the_buffer_is_whole() -> None:
    sent = bytes(range(256)) * (DEFAULT_BUFFER_SIZE // 200)
    with connection_with([sent[:10], sent[10:8000], sent[8000:]]) as connection:
        assert buffered_reader()(connection, len(sent)) == sent


def test_the_process_ends_when_the_front_end_has_closed() -> None:
    with connection_with([b"ab"]) as connection, pytest.raises(SystemExit, match=r"^0$"):
        buffered_reader()(connection, 3)


@pytest.mark.filterwarnings("ignore")  # ts leaves a file open when it is imported
def test_torchserve_reads_the_same_message_with_either_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    from ts.protocol import otf_message_handler

    def field(content: bytes) -> bytes:
        return len(content).to_bytes(4) + content

    end = (-1).to_bytes(4, signed=True)
    request = field(b"id") + field(b"Accept") + field(b"*/*") + end
    request += field(b"body") + field(b"application/json") + field(b'{"instances": [[3]]}') + end
    message = b"I" + request + end

    def received(reader: Callable[..., bytes | bytearray]) -> object:
        monkeypatch.setattr(otf_message_handler, "_retrieve_buffer", reader)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(message + message)
            return [otf_message_handler.retrieve_msg(ours) for _ in range(2)]

    plain = otf_message_handler._retrieve_buffer
    assert received(buffered_reader()) == received(plain)
