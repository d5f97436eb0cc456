"""Every command of infra/ that runs gridline names a verb and options that the command line has."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.infra_files import (
    Command,
    commands,
    crontab_lines,
    dockerfile_steps,
    documents,
    gridline_words,
    named,
    parsed,
    unit_settings,
    yaml_paths,
)

OF_GRIDLINE = [each for each in commands() if gridline_words(each.words)]


@pytest.mark.parametrize("path", yaml_paths(), ids=named)
def test_every_yaml_of_infra_parses(path: Path) -> None:
    assert documents(path), f"{named(path)} is empty"


@pytest.mark.parametrize("command", OF_GRIDLINE, ids=lambda command: command.where.replace(" ", ":"))
def test_every_command_of_infra_is_one_that_gridline_has(command: Command) -> None:
    for words in gridline_words(command.words):
        assert parsed(words)["verb"]


@pytest.mark.parametrize(
    "words", [["serve", "plants", "--prot", "8080"], ["sevre", "plants"], ["gc", "plants", "--keep", "no"]]
)
def test_parsed_refuses_a_verb_an_option_or_a_value_that_gridline_refuses(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"no verb|No such option|valid integer"):
        parsed(words)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["gridline", "gc", "plants"], [["gc", "plants"]]),
        (["/opt/gridline/bin/gridline", "gc", "plants"], [["gc", "plants"]]),
        (["python", "-m", "jobs", "gc", "plants"], [["gc", "plants"]]),
        (["ray", "job", "submit", "--", "gridline", "gc", "plants"], [["gc", "plants"]]),
        (["sh", "-c", "gridline gc plants && gridline gc fish; exit 0"], [["gc", "plants"], ["gc", "fish"]]),
        (["sh", "-c", "cd /var/lib/gridline && ls"], []),
        (["ray", "start", "--head"], []),
        (["aws", "s3", "ls", "s3://models/gridline", "--folder=/var/lib/gridline"], []),
    ],
)
def test_gridline_words_finds_what_gridline_gets(words: list[str], found: list[list[str]]) -> None:
    assert gridline_words(words) == found


def test_documents_refuses_a_key_that_stands_twice(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Pod\nkind: Job\n")
    with pytest.raises(yaml.YAMLError, match="'kind' stands twice"):
        documents(tmp_path / "a.yaml")


def test_lines_of_units_crontabs_and_dockerfiles_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("[Service]\n# a comment\nEnvironment=A=b\nExecStart=gridline gc \\\n  plants\n")
    assert unit_settings(path) == [("Service", "Environment", "A=b"), ("Service", "ExecStart", "gridline gc  plants")]
    path.write_text("SHELL=/bin/sh\n# a comment\n\n15 2 * * *  gridline gc plants\n@daily gridline gc fish\n")
    assert [*crontab_lines(path)] == [("15 2 * * *", "gridline gc plants"), ("@daily", "gridline gc fish")]
    path.write_text('# syntax\nFROM python:3.11-slim AS serve\nRUN a && \\\n  b\nCMD ["gridline"]\n')
    assert [step[:2] for step in dockerfile_steps(path)] == [("serve", "FROM"), ("serve", "RUN"), ("serve", "CMD")]
