"""Parse a request: a body in one of the formats becomes a Query.

A format is a module with a function `read(request, fleet) -> Query`; `READERS` names the formats by content type. The
fleet says which names and how many values an instance may have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import PayloadError
from ..models.fleet import Fleet
from ..wording import shown
from . import csv_body, json_body, json_lines
from .accepting import JSON_LINES, PLAIN, accepted
from .forms import payload_of
from .inflating import inflated
from .limits import check_instances
from .payload import Query, Request

Reader = Callable[[Request, Fleet], Query]

READERS: dict[str, Reader] = {
    "application/json": json_body.read,
    **dict.fromkeys(("text/csv", "application/csv", "text/x-csv"), csv_body.read),
    **dict.fromkeys(JSON_LINES, json_lines.read),
}
UNTOLD = frozenset({"", "application/octet-stream", "text/plain"})  # types that do not tell the format
ENCODING, ACCEPT = "content-encoding", "accept"


def parse(request: Request, fleet: Fleet) -> Query:
    """Return the parsed request to this fleet. Raises PayloadError if gridline can't read it, and NotServedError."""
    if request.form is not None:
        request = payload_of(request, request.form)
    if ENCODING in request.headers:
        request = replace(request, body=inflated(request.body, request.headers[ENCODING]))
    query = _checked(_read(request, fleet))
    accept = request.headers.get(ACCEPT, "")
    return query if accept in PLAIN else _answered_as(query, accept)


def _read(request: Request, fleet: Fleet) -> Query:
    if not isinstance(request.body, (bytes, bytearray, str)):
        return json_body.read(request, fleet)
    if not request.body or request.body.isspace():
        raise PayloadError('the request is empty: send {"instances": [[…], …]} or [{"feature": value, …}, …] in it')
    media_type = request.content_type.partition(";")[0].strip()
    if media_type in UNTOLD:
        start = (
            request.body[:100] if isinstance(request.body, str) else bytes(request.body[:100]).decode(errors="replace")
        )
        read: Reader = json_body.read if start.lstrip("\ufeff \t\r\n")[:1] in ("{", "[") else csv_body.read
        return read(request, fleet)
    if media_type in READERS:
        return READERS[media_type](request, fleet)
    try:
        return json_body.read(request, fleet)
    except PayloadError as exc:
        raise PayloadError(
            f"{exc}; the content type is {shown(media_type)}: send application/json or text/csv"
        ) from exc


def _answered_as(query: Query, accept: str) -> Query:
    """Return the query with the format of its answer. Raises PayloadError for what the format has no place for."""
    answer, is_headed = accepted(accept)
    if answer == "csv" and (query.extrapolation or query.explanations):
        raise PayloadError(
            "a CSV has no place for extrapolations and explanations: ask for 'Accept: application/json' or "
            "'application/jsonlines', or leave them out"
        )
    return replace(query, answer=answer, header=query.header if is_headed is None else is_headed)


def _checked(query: Query) -> Query:
    """Return the query. Raises PayloadError for no instances, too many, or a wrong number of datasets."""
    num_rows = len(query.instances)
    check_instances(num_rows)
    if isinstance(query.dataset, tuple) and len(query.dataset) != num_rows:
        raise PayloadError(f"'dataset' has {len(query.dataset)} names for {num_rows} instances: give one for each")
    return query
