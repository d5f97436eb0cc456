"""docs/architecture.md and the pages beside it name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = {
    path.relative_to(ROOT).as_posix()
    for top in ("jobs", "model_store", "handler", "gridline", "infra", "tests", "examples", "benchmarks", "docs")
    for path in (ROOT / top).rglob("*")
}


def prose(page: Path) -> str:
    """Return a page without the output of commands, in which others' files may be named."""
    return re.sub(r"^```console\n.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_name_modules_that_exist(page: Path) -> None:
    named = set(re.findall(r"(?<![\w*/.-])((?:\w+/)*\w+\.py)\b", prose(page)))
    archived = {"load.py"}  # a file of an export, not of the repository
    missing = [name for name in named - archived if not any(f"/{path}".endswith(f"/{name}") for path in SOURCES)]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_link_to_files_that_exist(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_architecture_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "docs" / "architecture.md").read_text().splitlines()) <= 215
