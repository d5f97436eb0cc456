"""Parse a request: a body in one of the formats becomes a Query.

A format is a module with a function `read(request, fleet) -> Query`; `READERS` names the formats by content type. The
fleet says which names and how many values an instance may have.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import PayloadError
from ..models.fleet import Fleet
from . import csv_body, json_body
from .limits import check_instances
from .payload import Query, Request

Reader = Callable[[Request, Fleet], Query]

READERS: dict[str, Reader] = {"text/csv": csv_body.read}


def parse(request: Request, fleet: Fleet) -> Query:
    """Return the parsed request to this fleet. Raises PayloadError if gridline can't read it, and NotServedError."""
    if isinstance(request.body, (bytes, bytearray, str)):
        if not request.body.strip():
            raise PayloadError('the request is empty: send {"instances": [[…], …]} or [{"feature": value, …}, …] in it')
        media_type = request.content_type.partition(";")[0].strip()
        return _checked(READERS.get(media_type, json_body.read)(request, fleet))
    return _checked(json_body.read(request, fleet))


def _checked(query: Query) -> Query:
    """Return the query. Raises PayloadError for no instances, too many, or a wrong number of datasets."""
    num_rows = len(query.instances)
    check_instances(num_rows)
    if isinstance(query.dataset, tuple) and len(query.dataset) != num_rows:
        raise PayloadError(f"'dataset' has {len(query.dataset)} names for {num_rows} instances: give one for each")
    return query
