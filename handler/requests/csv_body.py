"""Read a CSV body: lines of cells, after a header or in feature order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..errors import PayloadError
from ..models.fleet import Fleet
from .csv_text import table_of_csv
from .options import most_columns, options_beside, query_of
from .payload import Query, Request


def read(request: Request, fleet: Fleet) -> Query:
    """Return the query of a CSV body. Raises PayloadError if it is none, and NotServedError."""
    names = _names(fleet, options_beside(request).get("dataset"))
    table = table_of_csv(text_of(request.body), names, most_columns(fleet.most_features, {}, request))
    return replace(query_of(table, "instances", {}, {}, request), header=table.names is not None)


def _names(fleet: Fleet, dataset: object) -> Collection[str] | None:
    """Return the names of the features of a dataset, or of the only list of features; None if both are not known."""
    if isinstance(dataset, str):
        return fleet.card(dataset).feature_names
    return fleet.stacks[0].card.feature_names if len(fleet.stacks) == 1 else None


def text_of(body: object) -> str:
    """Return a body as text, without a byte order mark. Raises PayloadError if it is not UTF-8."""
    if isinstance(body, str):
        return body.removeprefix("\ufeff")
    assert isinstance(body, (bytes, bytearray))  # noqa: S101 - a format by content type reads no decoded JSON
    try:
        return body.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        raise PayloadError(f"the request is not UTF-8: {exc.reason} at byte {exc.start}") from exc
