"""The request in a form, as `curl -F` and `curl --data-urlencode` send it.

The parser of the standard library takes a minute for a hostile form of some megabytes; this one is linear in its size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

from handler.requests.forms import URLENCODED
from handler.requests.payload import Field
from model_store.asgi import refusals
from model_store.asgi.refusals import RefusedError

MAX_FIELDS = 100
MAX_PART_HEAD_BYTES = 4096
BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s";]{1,70}))', re.IGNORECASE)
DISPOSITION = re.compile(rb"^content-disposition: *form-data(.*)$", re.IGNORECASE | re.MULTILINE)
NAME = re.compile(rb'; *name="([^"]*)"|; *name=([^\s";]+)', re.IGNORECASE)
PART_TYPE = re.compile(rb"^content-type: *([^\r\n;]*)", re.IGNORECASE | re.MULTILINE)

HEX = "0123456789abcdefABCDEF"
BYTES = {(first + second).encode(): bytes.fromhex(first + second) for first, second in product(HEX, HEX)}


def fields_of(body: bytes, content_type: str) -> Mapping[str, Field]:
    """Return the fields of a form by name; of a repeated one the last. Raises RefusedError.

    `content_type` is that of the form, as it was sent: a boundary has upper and lower case.
    """
    is_urlencoded = content_type.lower().startswith(URLENCODED)
    return _of_pairs(body) if is_urlencoded else _of_parts(body, content_type)


def _of_pairs(body: bytes) -> Mapping[str, Field]:
    pairs = [pair.partition(b"=") for pair in body.replace(b"+", b" ").split(b"&", MAX_FIELDS)[:MAX_FIELDS]]
    return {_text(_unescaped(name)): Field(_unescaped(value)) for name, _, value in pairs}


def _of_parts(body: bytes, content_type: str) -> Mapping[str, Field]:
    """Return the fields of a multipart form (RFC 7578)."""
    boundary = BOUNDARY.search(content_type)
    if boundary is None:
        return {}
    delimiter = b"\r\n--" + (boundary[1] or boundary[2]).encode("latin-1", errors="replace")
    fields = {}
    for part in (b"\r\n" + body).split(delimiter, MAX_FIELDS)[1:MAX_FIELDS]:
        head_end = part.find(b"\r\n\r\n", 0, MAX_PART_HEAD_BYTES)
        head = part[: max(head_end, 0)]
        disposition = DISPOSITION.search(head)
        name = NAME.search(disposition[1]) if disposition else None
        if name is not None:
            kind = PART_TYPE.search(head)
            fields[_text(name[1] or name[2] or b"")] = Field(
                part[head_end + 4 :], _text(kind[1]).strip() if kind else ""
            )
    return fields


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _unescaped(text: bytes) -> bytes:
    """Return the bytes of an urlencoded text. Raises RefusedError for a percent sign without two digits."""
    first, *others = text.split(b"%")
    try:
        return b"".join([first, *[BYTES[other[:2]] + other[2:] for other in others]])
    except KeyError as exc:
        raise RefusedError(refusals.wrong("The form has a percent sign without two hexadecimal digits")) from exc
