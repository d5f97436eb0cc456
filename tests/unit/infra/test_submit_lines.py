"""Every `ray job submit` of the documentation and of infra/ is one line, but for where it is and what it uploads."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.infra_files import INFRA, ROOT, commands, gridline_words, parsed

RUNTIME_ENV = INFRA / "ray" / "runtime_env.yaml"
OPTIONS = {"--address", "--runtime-env", "--working-dir", "--submission-id"}
IN_TEXT = re.compile(r"^(?:#\s*|\$ )?(ray job submit .* -- .*)$", re.MULTILINE)


def lines() -> dict[str, list[str]]:
    """Return the words of each line by where it stands."""
    pages = [RUNTIME_ENV, ROOT / "README.md", ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = {
        f"{path.relative_to(ROOT)}:{at}": shlex.split(text)
        for path in pages
        for at, text in enumerate(IN_TEXT.findall(path.read_text()))
    }
    for command in commands():
        text = command.words[-1] if command.words[:2] == ("sh", "-c") else shlex.join(command.words)
        if "ray job submit" in text:
            found[command.where] = shlex.split(text.partition(";")[0])
    return found


LINES = lines()


@pytest.mark.parametrize("where", LINES)
def test_a_submission_joins_the_cluster_and_skips_a_run_under_way(where: str) -> None:
    words = LINES[where]
    assert words[:3] == ["ray", "job", "submit"]
    of_ray = words[3 : words.index("--")]
    assert set(of_ray[::2]) <= OPTIONS and len({"--runtime-env", "--working-dir"} & set(of_ray)) <= 1
    [train] = gridline_words(words)
    arguments = parsed(train)
    assert (arguments["verb"], arguments["address"], arguments["if_running"]) == ("train", "auto", "skip")


def test_the_line_stands_in_the_documentation_and_in_the_file_that_it_names() -> None:
    [in_file] = [words for where, words in LINES.items() if where.startswith("infra/ray/")]
    in_docs = [words for where, words in LINES.items() if where.startswith("docs/scaling.md")]
    assert in_file in in_docs
    assert (ROOT / in_file[in_file.index("--runtime-env") + 1]) == RUNTIME_ENV


def test_what_is_uploaded_is_the_program_and_no_more() -> None:
    excluded = {each.strip("/") for each in yaml.safe_load(RUNTIME_ENV.read_text())["excludes"]}
    program = {"gridline", "jobs", "model_store", "handler", "infra", "examples"}
    folders = {path.name for path in Path(ROOT).iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert program <= folders and not program & excluded
    assert {"tests", "docs", "benchmarks", ".git", ".venv"} <= excluded
