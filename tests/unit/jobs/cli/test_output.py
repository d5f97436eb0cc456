"""Texts that verbs print."""

from __future__ import annotations

import json

import pytest

from jobs.cli.output import emit


def test_emit_prints_brackets_of_a_text_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"note": "[draft]"}, "note [draft]", as_json=False)
    assert capsys.readouterr().out == "note [draft]\n"
    emit({"note": "[draft]"}, "note [draft]", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"note": "[draft]"}
