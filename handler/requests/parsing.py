"""Parse a request: a body in one of the formats becomes a Query.

A format is a module with a function `read(request) -> Query`; `READERS` names the formats by content type. This needs
neither a server nor a model card.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import PayloadError
from . import csv_body, json_body
from .payload import MAX_INSTANCES, Query, Request

Reader = Callable[[Request], Query]

READERS: dict[str, Reader] = {"text/csv": csv_body.read}


def parse(request: Request) -> Query:
    """Return the parsed request. Raises PayloadError if gridline can't read it."""
    if isinstance(request.body, (bytes, bytearray, str)):
        if not request.body.strip():
            raise PayloadError('the request is empty: send {"instances": [[…], …]} or [{"feature": value, …}, …] in it')
        media_type = request.content_type.partition(";")[0].strip()
        return _checked(READERS.get(media_type, json_body.read)(request))
    return _checked(json_body.read(request))


def _checked(query: Query) -> Query:
    """Return the query. Raises PayloadError for no instances, too many, or a wrong number of datasets."""
    num_rows = len(query.instances)
    if num_rows == 0:
        raise PayloadError("the request has no instances: send at least one")
    if num_rows > MAX_INSTANCES:
        raise PayloadError(f"the request has {num_rows} instances: send at most {MAX_INSTANCES} at a time")
    if isinstance(query.dataset, tuple) and len(query.dataset) != num_rows:
        raise PayloadError(f"'dataset' has {len(query.dataset)} names for {num_rows} instances: give one for each")
    return query
