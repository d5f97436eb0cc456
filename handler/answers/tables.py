"""The bytes of an answer as a table: CSV, or JSON Lines; its columns have the names of `gridline predict --output`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from ..requests.payload import Query
from .bodies import NO_BOUNDS, Body, to_json

BOUNDS = {"confidence": ("conf_low", "conf_high"), "prediction": ("pred_low", "pred_high")}
WARNING = '299 gridline "names that are no features were ignored"'


def table_body(query: Query, answer: Mapping[str, Any], *, is_mixed: bool) -> Body:
    """Return the answer as a table; with a column `dataset` if the instances name their datasets.

    A row that can't have an interval has empty cells, and the reason in `error`, as in `gridline predict --output`.
    Raises ValueError for a contribution that is not finite.
    """
    columns = _columns(answer, is_mixed=is_mixed)
    headers = {"Warning": WARNING} if "warnings" in answer else {}
    if query.answer == "lines":
        lines = [to_json(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        return Body(b"".join(line + b"\n" for line in lines), "application/jsonlines", headers)
    return Body(_csv(columns, query.header), "text/csv", headers)


def _columns(answer: Mapping[str, Any], *, is_mixed: bool) -> dict[str, Sequence[Any]]:
    columns: dict[str, Sequence[Any]] = {"prediction": answer["predictions"]}
    for name, ends in BOUNDS.items() if "intervals" in answer else ():
        for place, end in enumerate(ends):
            columns[end] = [(bounds or NO_BOUNDS)[place] for bounds in answer["intervals"][name]]
    if is_mixed:
        dataset = answer["model"]["dataset"]
        columns["dataset"] = [dataset] * len(answer["predictions"]) if isinstance(dataset, str) else dataset
    columns |= {name: answer[name] for name in ("extrapolations", "explanations") if name in answer}
    if "reasons" in answer.get("intervals", {}):
        columns["error"] = answer["intervals"]["reasons"]
    return columns


def _csv(columns: Mapping[str, Sequence[Any]], is_headed: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if is_headed:
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode(errors="backslashreplace")
