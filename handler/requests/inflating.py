"""Inflate the body of a request that was sent compressed, up to a bound."""

from __future__ import annotations

import zlib

from ..errors import TOO_LARGE, UNSUPPORTED_TYPE, PayloadError
from ..wording import shown
from .limits import MAX_GZIP_MEMBERS, MAX_INFLATED_BYTES

IDENTITY = ("", "identity")
GZIP = ("gzip", "x-gzip")
GZIP_BITS, ZLIB_BITS, RAW_BITS = 31, 15, -15  # of zlib.decompressobj


def inflated(body: object, encoding: str) -> object:
    """Return the body of a request with this `Content-Encoding`.

    Raises PayloadError for another encoding, for more than MAX_INFLATED_BYTES, and for broken data.
    """
    name = encoding.strip().lower()
    if name in IDENTITY:
        return body
    if name not in (*GZIP, "deflate"):
        message = f"Content-Encoding is {shown(encoding)}: send gzip, deflate, or no compression"
        raise PayloadError(message, UNSUPPORTED_TYPE)
    if not isinstance(body, (bytes, bytearray)):
        raise PayloadError(f"Content-Encoding is {shown(encoding)}, and the body is text: leave the header out")
    try:
        return _members(bytes(body)) if name in GZIP else _deflated(bytes(body))
    except (zlib.error, EOFError) as exc:
        raise PayloadError(f"the request is not {name}, which Content-Encoding says: leave the header out") from exc


def _members(body: bytes) -> bytes:
    """Return the content of one gzip file, or of several after each other."""
    content, rest, members = bytearray(), body, 0
    while rest and members < MAX_GZIP_MEMBERS:
        one, rest = _inflate(rest, GZIP_BITS, MAX_INFLATED_BYTES - len(content))
        content += one
        members += 1
    if rest or not members:
        raise EOFError
    return bytes(content)


def _deflated(body: bytes) -> bytes:
    """Return the content of deflate: with a header as HTTP says, or without, as some clients send it."""
    try:
        content, rest = _inflate(body, ZLIB_BITS, MAX_INFLATED_BYTES)
    except zlib.error:
        content, rest = _inflate(body, RAW_BITS, MAX_INFLATED_BYTES)
    if rest:
        raise EOFError
    return content


def _inflate(body: bytes, bits: int, most: int) -> tuple[bytes, bytes]:
    """Return the inflated bytes, and what follows them. Raises EOFError if the data ends too early."""
    inflating = zlib.decompressobj(bits)
    content = inflating.decompress(body, most + 1)
    if len(content) > most:
        message = (
            f"the body is larger than {MAX_INFLATED_BYTES} bytes once it is inflated: send fewer instances at a time"
        )
        raise PayloadError(message, TOO_LARGE)
    if not inflating.eof:
        raise EOFError
    return content, inflating.unused_data
