"""Follow the remedy in a refusal by its words alone, as somebody does who knows nothing else of gridline."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from tests.real.tables import Table

Json = dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """What somebody trains: a table, the configuration of its dataset, and keys of the grid beside the rates."""

    table: Table
    dataset: Json
    grid: Json = field(default_factory=dict)

    @property
    def is_least_squares(self) -> bool:
        """Whether the model is that of least squares: a decay of the weights asks for another."""
        return not self.grid


def followed(reason: str, attempt: Attempt) -> Attempt | None:
    """Return the attempt changed as a refusal says; None if it says nothing that is known here."""
    for pattern, follow in REMEDIES.items():
        if match := re.search(pattern, reason):
            return follow(attempt, match)
    return None


def _set_key(attempt: Attempt, match: re.Match[str]) -> Attempt:
    return replace(attempt, dataset=attempt.dataset | {match["key"]: match["value"]})


def _leave_out(attempt: Attempt, match: re.Match[str]) -> Attempt:
    features = attempt.dataset["features"]
    lines = [features] if isinstance(features, str) else features
    return replace(attempt, dataset=attempt.dataset | {"features": [*lines, f"!{match['column']}"]})


def _decay(attempt: Attempt, match: re.Match[str]) -> Attempt:
    return replace(attempt, grid={match["key"]: [0.1]})


def _write_dates(attempt: Attempt, match: re.Match[str]) -> Attempt:
    """Return the attempt with the dates of a column written as ISO 8601 writes them."""
    frame = attempt.table.frame
    dates = pd.to_datetime(frame[match["column"]]).dt.strftime("%Y-%m-%d")
    text = io.StringIO()
    frame.assign(**{match["column"]: dates}).to_csv(text, index=False)
    return replace(attempt, table=replace(attempt.table, text=text.getvalue().encode()))


REMEDIES: dict[str, Callable[[Attempt, re.Match[str]], Attempt]] = {
    r"set '(?P<key>missing_target|encoding|decimal|delimiter): (?P<value>[^']+)'": _set_key,
    r"column '(?P<column>[^']+)'.* remove it from 'features'": _leave_out,
    r"set 'grid\.(?P<key>weight_decay)' above 0": _decay,
    r"'(?P<column>[^']+)' has \d+ levels in .* write dates as \d{4}-\d\d-\d\d": _write_dates,
}
