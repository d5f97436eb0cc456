"""Which format the answer has: what the header `Accept` asks for, as SageMaker's containers decide it; else JSON."""

from __future__ import annotations

from ..errors import NOT_ACCEPTABLE, PayloadError
from ..wording import shown
from .payload import AnswerFormat

JSON_LINES = ("application/jsonlines", "application/jsonl", "application/x-ndjson")
PLAIN = frozenset({"", "*/*", "application/json"})
FORMATS: dict[str, AnswerFormat] = {
    **dict.fromkeys(("*/*", "application/*", "application/json", "application/octet-stream"), "json"),
    **dict.fromkeys(("text/*", "text/csv"), "csv"),
    **dict.fromkeys(JSON_LINES, "lines"),
}


def accepted(header: str) -> tuple[AnswerFormat, bool | None]:
    """Return the format, and whether a CSV shall have a header (`text/csv; header=absent`; None: not said).

    Of several types the one of the largest weight counts, of equals the first that is written. Raises
    PayloadError if none is.
    """
    weighted = sorted((_weighted(item) for item in header.split(",")), key=lambda each: -each[0])
    for weight, media_type, is_headed in weighted:
        if weight > 0 and media_type in FORMATS:
            return FORMATS[media_type], is_headed
    raise PayloadError(
        f"Accept is {shown(header)}: ask for application/json, text/csv or application/jsonlines "
        "(SageMaker: deserializer=JSONDeserializer())",
        NOT_ACCEPTABLE,
    )


def _weighted(item: str) -> tuple[float, str, bool | None]:
    """Return the weight, the type and the parameter `header` of one item of the header."""
    media_type, *parameters = (part.strip().lower() for part in item.split(";"))
    said = dict(parameter.partition("=")[::2] for parameter in parameters)
    try:
        weight = float(said.get("q", "1"))
    except ValueError:
        weight = 0.0
    return weight, media_type, {"present": True, "absent": False}.get(said.get("header", ""))
