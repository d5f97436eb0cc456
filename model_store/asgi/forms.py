"""The request in a form, as `curl -F` and `curl --data-urlencode` send it.

The parser of the standard library takes a minute for a hostile form of some megabytes; this one is linear in its size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

from model_store.asgi import refusals
from model_store.asgi.bodies import RefusedBodyError

URLENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
FIELDS = ("body", "data")  # TorchServe's names for the request
MAX_FIELDS = 100
MAX_PART_HEAD_BYTES = 4096
BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s";]{1,70}))', re.IGNORECASE)
DISPOSITION = re.compile(rb"^content-disposition: *form-data(.*)$", re.IGNORECASE | re.MULTILINE)
NAME = re.compile(rb'; *name="([^"]*)"|; *name=([^\s";]+)', re.IGNORECASE)
PART_TYPE = re.compile(rb"^content-type: *([^\r\n;]*)", re.IGNORECASE | re.MULTILINE)

HEX = "0123456789abcdefABCDEF"
BYTES = {(first + second).encode(): bytes.fromhex(first + second) for first, second in product(HEX, HEX)}

Fields = Mapping[bytes, tuple[bytes, str]]  # the content of a field and its type, by name


def is_form(content_type: str) -> bool:
    """Return whether a body of this type, in lower case, is a form."""
    return content_type.startswith((URLENCODED, MULTIPART))


def field_of_form(body: bytes, content_type: str) -> tuple[bytes, str]:
    """Return the field of a form that is the request, and its type: `body`, or `data`; empty if it has neither.

    `content_type` is that of the form, as it was sent: a boundary has upper and lower case. Raises RefusedBodyError.
    """
    is_urlencoded = content_type.lower().startswith(URLENCODED)
    fields = _of_pairs(body) if is_urlencoded else _of_parts(body, content_type)
    return next((fields[name.encode()] for name in FIELDS if name.encode() in fields), (b"", ""))


def _of_pairs(body: bytes) -> Fields:
    """Return the fields of an urlencoded form; of a repeated one the last."""
    pairs = [pair.partition(b"=") for pair in body.replace(b"+", b" ").split(b"&", MAX_FIELDS)[:MAX_FIELDS]]
    return {_unescaped(name): (_unescaped(value), "") for name, _, value in pairs}


def _unescaped(text: bytes) -> bytes:
    """Return the bytes of an urlencoded text. Raises RefusedBodyError for a percent sign without two digits."""
    first, *others = text.split(b"%")
    try:
        return b"".join([first, *[BYTES[other[:2]] + other[2:] for other in others]])
    except KeyError as exc:
        raise RefusedBodyError(refusals.wrong("The form has a percent sign without two hexadecimal digits")) from exc


def _of_parts(body: bytes, content_type: str) -> Fields:
    """Return the fields of a multipart form (RFC 7578); of a repeated one the last."""
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
            fields[name[1] or name[2] or b""] = part[head_end + 4 :], kind[1].decode("latin-1").strip() if kind else ""
    return fields
