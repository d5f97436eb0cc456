"""Take the payload out of a form, or of a message of gRPC: one field has the instances, the others are options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import PayloadError
from ..wording import listed, shown
from .options import OPTIONS
from .payload import Field, Request

URLENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
NAMES = ("body", "data")  # of TorchServe
BESIDE = OPTIONS | {"model_name"}  # which TorchServe reads itself
AS_FORM = (
    "the body was sent as a form, as curl -d does unless told otherwise: add the header 'Content-Type: "
    "application/json', or 'Content-Type: text/csv' (curl -H)"
)


def is_form(content_type: str) -> bool:
    """Return whether a body of this type, in lower case, is a form."""
    return content_type.startswith((URLENCODED, MULTIPART))


def payload_of(request: Request, fields: Mapping[str, Field]) -> Request:
    """Return the request with the field of its instances as body, and the options as parameters.

    The field may have any name, but for an urlencoded form, which is mostly JSON or CSV that a client has sent so by
    mistake: there `body` or `data`. Raises PayloadError if there is no such field, or there are several.
    """
    names = [name for name in fields if name not in BESIDE]
    if request.content_type.startswith(URLENCODED) and not (names and set(names) <= set(NAMES)):
        raise PayloadError(AS_FORM)
    if not names:
        raise PayloadError(
            "the form has no field with instances: give them in one, such as 'data' (curl -F data=@rows.csv; over gRPC "
            "input={'data': …})"
        )
    if len(names) > 1:
        raise PayloadError(
            f"the form has the fields {listed(names)}: give all instances in one of any name, and beside it only "
            f"{sorted(OPTIONS)}"
        )
    payload = fields[names[0]]
    options = texts_of({name: field for name, field in fields.items() if name in OPTIONS})
    return replace(
        request,
        body=payload.content,
        content_type=payload.content_type.lower(),
        parameters={**request.parameters, **options},
        form=None,
    )


def texts_of(fields: Mapping[str, Field]) -> dict[str, str]:
    """Return fields as text. Raises PayloadError for one that is none."""
    return {name: _text(name, field.content) for name, field in fields.items()}


def _text(name: str, content: object) -> str:
    try:
        return content if isinstance(content, str) else bytes(content).decode()  # type: ignore[call-overload]
    except (UnicodeDecodeError, TypeError) as exc:
        raise PayloadError(f"field {shown(name)} is not text in UTF-8") from exc
