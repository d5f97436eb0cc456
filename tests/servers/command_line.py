"""The command line in this process: what a command printed, and how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from jobs.cli import main


@dataclass(frozen=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The only line of standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def line(self) -> str:
        """The only line of a refusal."""
        [line] = [line for line in self.err.splitlines() if line.startswith("gridline: ")]
        return line


def run(capture: pytest.CaptureFixture[str], *arguments: str) -> Answer:
    """Return what a command comes to; a traceback fails the test."""
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capture.readouterr()
    assert isinstance(ended.value.code, int)
    assert "Traceback" not in out + err
    return Answer(ended.value.code, out, err)
