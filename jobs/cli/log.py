"""The log on standard error of the verbs that run for long: train, deploy --follow, serve. Only this sets it up.

    2026-11-26T20:03:55Z WARNING run=plants-0123456789ab-20261126T200355Z block a was lost, failure 1: …
    {"time": "2026-11-26T20:03:55Z", "level": "WARNING", "run_id": "…", "collection": "plants", "message": "…"}

A line is a record: what would begin another line is escaped, so no value can forge one. Secrets of the environment, and
passwords in addresses, are replaced.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from handler.wording import on_one_line

OWN_LOGGER = "gridline"
SAID = {"version": "version", "run_id": "run"}  # fields that a line of text begins with
LOGGERS = (OWN_LOGGER, "jobs", "jobs.cluster", "model_store", "handler")
TALKS = (OWN_LOGGER, "jobs.cluster")  # the others of a job log a line for each dataset
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS")
SHORTEST_SECRET = 4  # a shorter one is for trials, and would be found in every word
PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
OWN = ("run_id", "collection")  # in each line of JSON


class LogFormat(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        help="Lines of the log as text or as JSON, each with time, level and run. Default: text, without a terminal.",
    ),
]


@dataclass
class Log:
    """The log of the process; `known` are the run id and the collection, as soon as they are known.

    Without a format it writes for a person at a terminal: the message after the name of the program. If it `is_plain`,
    it writes so the error that ends the verb.
    """

    form: LogFormat | None = None
    known: dict[str, Any] = field(default_factory=dict)
    is_plain: bool = False
    handler: logging.Handler | None = None

    def write(self, text: str, fields: Mapping[str, Any] | None = None, level: int = logging.INFO) -> None:
        """Write a line of the command line itself."""
        logging.getLogger(OWN_LOGGER).log(level, "%s", text, extra={"fields": dict(fields or {})})

    def is_of(self, run_id: str) -> None:
        """Begin the lines of a run."""
        self.known["run_id"] = run_id


LOG = Log()


def start_log(form: LogFormat | None, *, serves: bool = False, **known: Any) -> Log:
    """Log to standard error until `end_log`; `known` are fields of every line.

    Without a format it is text; on a terminal, the lines of a job are for a person. What `serves` says more of itself.
    """
    LOG.form = form or (None if sys.stderr.isatty() and not serves else LogFormat.TEXT)
    LOG.is_plain = form is None and sys.stderr.isatty()
    LOG.known = dict(known)
    LOG.handler = logging.StreamHandler(sys.stderr)
    LOG.handler.setFormatter(_Formatter(LOG))
    for name in LOGGERS:
        if "." not in name:  # its records come to the handler of its parent
            logging.getLogger(name).addHandler(LOG.handler)
        logging.getLogger(name).setLevel(logging.INFO if serves or name in TALKS else logging.WARNING)
    return LOG


def end_log() -> None:
    """Stop logging: the process goes on without."""
    for name in LOGGERS:
        if LOG.handler is not None:
            logging.getLogger(name).removeHandler(LOG.handler)
        logging.getLogger(name).setLevel(logging.NOTSET)
    LOG.handler = None


@contextmanager
def foreign_output() -> Iterator[None]:
    """Make a line of the log of each line that others print: Ray prints lost workers to standard output."""
    lines: Any = sys.stderr if LOG.form is None else _Lines()
    with redirect_stdout(lines), redirect_stderr(lines):
        yield
        lines.write("" if LOG.form is None else "\n")


class _Lines(io.TextIOBase):
    """Text that is written here is logged line by line."""

    def __init__(self) -> None:
        self._begun = ""

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        for line in filter(None, map(str.rstrip, whole)):
            LOG.write(line, {"printed": True})
        return len(text)


class _Formatter(logging.Formatter):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        secrets = [os.environ.get(name, "") for name in SECRETS]
        self._secrets = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]

    def format(self, record: logging.LogRecord) -> str:
        fields = self._log.known | getattr(record, "fields", {})
        message = self._clean(record.getMessage())
        is_end = record.levelno == logging.ERROR and record.name == OWN_LOGGER
        if self._log.form is None or (self._log.is_plain and is_end):
            return f"gridline: {on_one_line(message)}"
        time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self._log.form is LogFormat.JSON:
            line = {"time": time, "level": record.levelname, **dict.fromkeys(OWN), **fields, "message": message}
            return json.dumps(
                {name: self._clean(value) if isinstance(value, str) else value for name, value in line.items()}
            )
        said = "".join(f"{name}={_word(fields[key])} " for key, name in SAID.items() if key in fields)
        return on_one_line(f"{time} {record.levelname} {said}{message}")

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return PASSWORD.sub(r"\1***@", text)


def _word(value: Any) -> str:
    """Return a value as one word: it can't be taken for the next field."""
    text = "none" if value is None else str(value)
    return text if re.fullmatch(r"[^\s=\"]+", text) else json.dumps(text)
