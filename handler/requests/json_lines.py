"""Read JSON Lines: an instance, or `{"features": [value, …]}` as SageMaker writes it, on each line."""

from __future__ import annotations

from ..errors import PayloadError
from ..models.fleet import Fleet
from ..wording import kind
from .csv_body import text_of
from .instances import Rows
from .json_text import value_of_json
from .limits import check_containers, check_lines
from .options import query_of
from .payload import Query, Request

FEATURES = "features"


def read(request: Request, fleet: Fleet) -> Query:
    """Return the query of lines of JSON. Raises PayloadError if a line is none."""
    text = text_of(request.body)
    check_lines(text)
    check_containers(text)
    rows = [_instance(line, row) for row, line in enumerate(line for line in text.split("\n") if line.strip())]
    return query_of(Rows(rows), "instances", {}, {}, request)


def _instance(line: str, row: int) -> object:
    try:
        value = value_of_json(line)
    except PayloadError as exc:
        raise PayloadError(f"instance {row}: {exc}") from exc
    if isinstance(value, dict) and value.keys() == {FEATURES} and isinstance(value[FEATURES], list):
        return value[FEATURES]
    if not isinstance(value, (list, dict)):
        raise PayloadError(f"instance {row} is {kind(value)}: give a list or an object on each line")
    return value
