"""Bodies that take the most time or memory of those that a limit of size lets pass; each is refused, or answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

LIMIT_BYTES = 6_500_000
JSON, CSV = "application/json", "text/csv"


@dataclass(frozen=True)
class WorstBody:
    """A body, and the type that its request says it has."""

    name: str
    body: bytes
    content_type: str = JSON


def worst_bodies(num_features: int = 1) -> Sequence[WorstBody]:
    """Return the bodies, for models of this number of features whose first dataset is store-0000000."""
    row = [0.5] * num_features
    keys = ",".join(f'"k{number}":1' for number in range(60_000))
    rows = json.dumps([row] * (90_000 // num_features))
    line = ",".join(["1"] * num_features)
    nested = "[" * 100_000 + "]" * 100_000
    datasets = json.dumps([f"store-{number:07d}" for number in range(10_000)])
    return (
        WorstBody("a key twice among 60,000", f'{{"instances": [{{{keys},"k7":2}}]}}'.encode()),
        WorstBody("as many lines as fit", f"{line}\n".encode() * (LIMIT_BYTES // (len(line) + 1)), CSV),
        WorstBody(
            "an answer beyond the limit", f'{{"instances": {rows}, "interval": 0.9, "explanations": true}}'.encode()
        ),
        WorstBody("as many rows as are answered", f'{{"dataset": "store-0000000", "instances": {rows}}}'.encode()),
        WorstBody("brackets", f'{{"instances": {nested}}}'.encode()),
        WorstBody("digits", b'{"instances": [[' + b"9" * 6_000_000 + b"]]}"),
        WorstBody(
            "a dataset for each row", f'{{"dataset": {datasets}, "instances": {json.dumps([row] * 10_000)}}}'.encode()
        ),
        WorstBody("one long text", b'{"instances": [["' + b"x" * 6_000_000 + b'"]]}'),
        WorstBody("half a document", b'{"instances": [' + b"[1]," * 1_500_000),
        WorstBody("escapes", b'{"instances": [["' + b"\\u0041" * 1_000_000 + b'"]]}'),
        WorstBody("quotes of a CSV", b'"' * 6_000_000, CSV),
        WorstBody("commas of a CSV", b"," * 6_000_000, CSV),
    )
