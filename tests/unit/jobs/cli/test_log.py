"""The log of verbs: time, level and run in each line, no secret, and no line that a value forged."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from jobs.cli.log import LOG, LogFormat, end_log, foreign_output, start_log
from jobs.progress import Progress

FORGED = 'x\n2026-01-01T00:00:00Z ERROR run=y forged\r\x1b[2K\x85\u2028{"level": "ERROR"}'
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Written:
    """Standard error without a terminal."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.text = capsys, ""

    def getvalue(self) -> str:
        self.text += self.capsys.readouterr().err
        return self.text


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    yield Written(capsys)
    end_log()


def records(stream: Written) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().split("\n") if line]


def test_a_line_of_text_has_time_level_and_run(written: Written) -> None:
    log = start_log(None, run_id=None)
    log.write("before")
    log.is_of("plants-1")
    logging.getLogger("jobs.cluster.tasks").warning("block %s was lost", "a")
    before, lost = written.getvalue().splitlines()
    assert re.fullmatch(f"{TIME} INFO run=none before", before)
    assert re.fullmatch(f"{TIME} WARNING run=plants-1 block a was lost", lost)


def test_a_line_of_json_has_time_level_run_collection_message_and_fields(written: Written) -> None:
    log = start_log(LogFormat.JSON, run_id="plants-1", collection="plants")
    log.write("1 of 2", {"done": 1})
    [record] = records(written)
    assert re.fullmatch(TIME, record.pop("time"))
    known = {"run_id": "plants-1", "collection": "plants"}
    assert record == {"level": "INFO", **known, "done": 1, "message": "1 of 2"}


@pytest.mark.parametrize("form", [None, LogFormat.TEXT, LogFormat.JSON])
def test_a_value_can_not_forge_a_line(written: Written, form: LogFormat | None) -> None:
    log = start_log(form, run_id=FORGED)
    log.write(FORGED)
    assert len(written.getvalue().splitlines()) == 1
    assert "\x1b" not in written.getvalue()
    if form is LogFormat.JSON:
        [record] = records(written)
        assert (record["message"], record["run_id"], record["level"]) == (FORGED, FORGED, "INFO")


def test_a_value_can_not_forge_a_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    Progress(terminal).say(FORGED)
    monkeypatch.setattr(sys, "stderr", terminal)
    start_log(None).write(FORGED)
    end_log()
    assert [line.partition("x")[0] for line in terminal.getvalue().splitlines()] == ["gridline: "] * 2


@pytest.mark.parametrize("form", [LogFormat.TEXT, LogFormat.JSON])
def test_a_secret_is_in_no_line(written: Written, form: LogFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", 's3cr"t/key')
    log = start_log(form)
    log.write('s3cr"t/key and http://user:hidden@host/', {"where": 's3cr"t/key'})
    assert "hidden" not in written.getvalue()
    assert "t/key" not in written.getvalue()
    assert "http://user:***@host/" in written.getvalue()


def test_what_others_print_is_logged_line_by_line(written: Written) -> None:
    start_log(LogFormat.JSON)
    with foreign_output():
        print("(raylet) a worker died")
        sys.stderr.write("two\nlines")
    assert [record["message"] for record in records(written)] == ["(raylet) a worker died", "two", "lines"]


def test_a_terminal_shows_a_job_as_before_and_a_server_with_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    start_log(None).write("joining")
    end_log()
    start_log(None, serves=True).write("stopped")
    LOG.write("it can't be reached", level=logging.ERROR)
    end_log()
    joining, stopped, error = terminal.getvalue().splitlines()
    assert (joining, error) == ("gridline: joining", "gridline: it can't be reached")
    assert re.fullmatch(f"{TIME} INFO stopped", stopped)


def test_ending_a_log_leaves_loggers_as_they_were(written: Written) -> None:
    start_log(LogFormat.TEXT)
    end_log()
    assert [logging.getLogger(name).handlers for name in ("gridline", "jobs", "model_store")] == [[], [], []]
    logging.getLogger("jobs").info("nobody reads this")
    assert written.getvalue() == ""
