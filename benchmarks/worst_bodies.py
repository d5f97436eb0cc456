"""The worst requests to the collection `stores`: each is within the size that a host takes, and made to cost most.

Sent by tests of the handler and of each host, and by the benchmark of serving: each is answered or refused in a bounded
time, by 400, 413 or 200, and no other request waits for long.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SIZE = 6_500_000  # bytes: a little less than the shipped `max_request_size`
ROWS = 100_000  # the most instances of a request
JSON, CSV = "application/json", "text/csv"
EVERYTHING = {"interval": 0.95, "extrapolation": True, "explanations": True}


@dataclass(frozen=True)
class WorstBody:
    """A request: its body is made when it is asked for, since all of them together fill the memory."""

    name: str
    make: Callable[[], str | bytes]
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """Return the bytes of the body."""
        made = self.make()
        return made if isinstance(made, bytes) else made.encode()


def _filled(part: str, before: str = '{"dataset": "north", "instances": [', after: str = "]}") -> str:
    """Return a list of as many equal parts as there is room for."""
    return before + ",".join([part] * ((SIZE - len(before) - len(after)) // (len(part) + 1))) + after


def _rows(row: Any, **options: Any) -> str:
    """Return a request with the most instances, all of them `row`."""
    options = {"dataset": "north"} | options
    return json.dumps(options)[:-1] + ', "instances": [' + ",".join([json.dumps(row)] * ROWS) + "]}"


def _north(instance: str) -> str:
    """Return a request with one instance."""
    return '{"dataset": "north", "instances": [' + instance + "]}"


def _numbered(text: str, count: int, between: str = ",") -> str:
    """Return `text` with 0, 1, … in the place of the sign #, one after the other."""
    return between.join(text.replace("#", str(number)) for number in range(count))


def _tensor(shape: str, data: str, name: str = "instances") -> str:
    return (
        f'{{"parameters": {{"dataset": "north"}}, "inputs": '
        f'[{{"name": "{name}", "datatype": "FP64", "shape": {shape}, "data": {data}}}]}}'
    )


def _mixed(names: list[str], **options: Any) -> str:
    instances = [{"dataset": names[row % len(names)], "area": 3 + row % 7} for row in range(ROWS)]
    return json.dumps({"instances": instances, **options})


def _form(fields: int) -> str:
    part = '--x\r\nContent-Disposition: form-data; name="f#"\r\n\r\n1'
    return _numbered(part, fields, "\r\n") + "\r\n--x--\r\n"


WORST_BODIES = (
    WorstBody("a key twice", lambda: "{" + _numbered('"#": 0', 450_000) + ', "0": 0}'),
    WorstBody("a key twice in many objects", lambda: _filled('{"a":0,"a":1}')),
    WorstBody("unknown keys", lambda: "{" + _numbered('"#": 0', 450_000) + "}"),
    WorstBody("empty lists", lambda: _filled("[]")),
    WorstBody("lists of one number", lambda: _filled("[0]")),
    WorstBody("empty objects", lambda: _filled("{}")),
    WorstBody("objects of one number", lambda: _filled('{"":0}')),
    WorstBody("objects with a name each", lambda: '{"instances": [' + _numbered('{"#":0}', 390_000) + "]}"),
    WorstBody("lists in lists", lambda: _filled("[" * 900 + "]" * 900)),
    WorstBody("objects in objects", lambda: _filled('{"":' * 150 + "0" + "}" * 150)),
    WorstBody("lists without end", lambda: "[" * SIZE),
    WorstBody("objects without end", lambda: '{"":' * (SIZE // 4)),
    WorstBody("many long integers", lambda: _filled("9" * 4300)),
    WorstBody("one integer", lambda: '{"instances": [[' + "9" * SIZE + "]]}"),
    WorstBody("one decimal", lambda: _north("[1." + "9" * SIZE + ", 1]")),
    WorstBody("one exponent", lambda: _north("[1e" + "9" * SIZE + ", 1]")),
    WorstBody("one number as text", lambda: _north('["' + "1" * SIZE + '", 1]')),
    WorstBody("text of control signs", lambda: _north('["' + "\\u0000" * 1_000_000 + '", 1]')),
    WorstBody("a long strange name", lambda: _north('{"' + "\U000e0001" * 1_600_000 + '": 1}')),
    WorstBody("a long dataset", lambda: '{"instances": [[1]], "dataset": "' + "\x7f" * SIZE + '"}'),
    WorstBody("a long id", lambda: '{"instances": [[3, 1]], "dataset": "north", "id": "' + "é" * 3_000_000 + '"}'),
    WorstBody("blanks", lambda: "{" + " " * SIZE),
    WorstBody("brackets in a text", lambda: '{"a": "' + "[{" * (SIZE // 2) + '"}'),
    WorstBody("a text without end", lambda: '{"a": "' + '\\"[{' * (SIZE // 4)),
    WorstBody("empty texts, then brackets", lambda: '{"a": [' + '"",' * 1_000_000 + "[" * 3_000_000),
    WorstBody("everything for the most rows", lambda: _rows([3, 1], **EVERYTHING)),
    WorstBody("intervals for the most rows", lambda: _rows([3, 1], interval=0.95)),
    WorstBody("extrapolations of the most rows", lambda: _rows([-3e9, 1e9], extrapolation=True)),
    WorstBody("numbers as texts", lambda: _rows(["3.0", "1.0"])),
    WorstBody("marks of missing values", lambda: _rows([3, "#N/A N/A"])),
    WorstBody("numbers in lists", lambda: _rows([[3], [1]])),
    WorstBody("absent values", lambda: _rows({"area": 3})),
    WorstBody("one row too many", lambda: _filled("[3,1]")),
    WorstBody("mixed datasets", lambda: _mixed(["bare"])),
    WorstBody("mixed cards", lambda: _mixed(["bare", "bare", "north"], extrapolation=True)),
    WorstBody("unknown datasets", lambda: '{"instances": [' + _numbered('{"dataset": "d#", "area": 1}', ROWS) + "]}"),
    WorstBody("datasets for one row", lambda: '{"instances": [[1]], "dataset": [' + _numbered('"#"', 600_000) + "]}"),
    WorstBody("names to ignore", lambda: '{"dataset": "north", "extra": "ignore", "instances": [{"area": 3, '
              + _numbered('"depht#": 0', 390_000) + "}]}"),
    WorstBody("many tensors", lambda: '{"inputs": ['
              + _numbered('{"name": "#", "datatype": "FP64", "shape": [1], "data": [1]}', 95_000) + "]}"),
    WorstBody("a wide tensor", lambda: _tensor("[1, 3000000]", "[" + ",".join(["1"] * 3_000_000) + "]")),
    WorstBody("a tensor of a false shape", lambda: _tensor("[" + "9" * 4000 + ", 2]", "[1]")),
    WorstBody("a nested tensor", lambda: _tensor("[100000, 2]", "[" + ",".join(["[[1],[1]]"] * 600_000) + "]")),
    WorstBody("wide rows of MLflow", lambda: '{"dataframe_split": {"data": [[1]], "columns": ['
              + _numbered('"#"', 600_000) + "]}}"),
    WorstBody("columns of MLflow", lambda: '{"inputs": {' + _numbered('"#": [1]', 400_000) + "}}"),
    WorstBody("lines without cells", lambda: "\n" * SIZE, CSV),
    WorstBody("cells without lines", lambda: "," * SIZE, CSV),
    WorstBody("many names", lambda: _numbered("n#", 800_000) + "\n1\n", CSV),
    WorstBody("one line too many", lambda: "area,depth,dataset\n" + "3,1,north\n" * 600_000, CSV),
    WorstBody("lines of marks", lambda: "area,depth,dataset\n" + "3,#N/A N/A,north\n" * ROWS, CSV),
    WorstBody("quotes", lambda: '""""""\n' * 900_000, CSV),
    WorstBody("a quote without end", lambda: '"' + "\n" * SIZE, CSV),
    WorstBody("signs of line ends", lambda: "1\r" * (SIZE // 2), CSV),
    WorstBody("lines of JSON", lambda: "[3,1]\n" * 1_000_000, "application/jsonlines"),
    WorstBody("nulls", lambda: b"\0" * SIZE),
    WorstBody("not UTF-8", lambda: b'{"a": "' + b"\xe4" * SIZE),
    WorstBody("a bomb of gzip", lambda: gzip.compress(b"[" * 500_000_000, 9), JSON, {"Content-Encoding": "gzip"}),
    WorstBody("many files of gzip", lambda: gzip.compress(b"", 1) * (SIZE // 20), JSON, {"Content-Encoding": "gzip"}),
    WorstBody("fields of a form", lambda: _form(90_000), "multipart/form-data; boundary=x"),
    WorstBody("a form without escapes", lambda: "%25" * (SIZE // 3), "application/x-www-form-urlencoded"),
)  # fmt: skip
