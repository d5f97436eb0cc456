"""Shape suffixes: one letter has one meaning in the whole house, and a module's legend explains each that it uses.

The table "Shape letters" of docs/architecture.md is the one source. A module states in its docstring, after `Shapes:`,
the letters of the names that it binds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for top in ("jobs", "model_store", "handler")
    for path in (ROOT / top).rglob("*.py")
)
TABLE = {letter: words.split(" / ") for letter, words in re.findall(r"^\| `([a-z])` \| (.+?) \|", PAGE, re.MULTILINE)}
SUFFIX = re.compile(rf"_([{''.join(TABLE)}12]{{1,5}})$")
# The table has no vowel but e, which only stands behind the axes of a trial: so nearly no English word is a suffix.
EPOCHS = re.compile(r"[mgt]*e[p1]?")
WORDS = {"s", "ms", "ns", "mb", "gc", "by", "py", "csv", "grpc"}  # units and words without such a vowel


def suffix(name: str) -> str | None:
    """Return the shape suffix of a name, or None if it ends with a word or a unit."""
    found = SUFFIX.search(name)
    letters = found[1] if found else ""
    return letters if letters not in WORDS and ("e" not in letters or EPOCHS.fullmatch(letters)) else None


def legend(source: str) -> dict[str, str]:
    """Return the entries of a module's legend, by their letter."""
    stated = re.search(r"^Shapes: (.*?)(?:\.(?:\n|$)|\. |\Z)", ast.get_docstring(ast.parse(source)) or "", re.M | re.S)
    entries = " ".join(stated[1].split()).split(" · ") if stated else []
    return {entry.split()[0]: entry for entry in entries}


def bound_names(source: str) -> Iterator[str]:
    """Yield the names that a module gives: variables, arguments, fields and attributes of `self`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def test_the_table_gives_each_letter_once() -> None:
    assert len(TABLE) == len(re.findall(r"^\| `[a-z]` \|", PAGE, re.MULTILINE)) >= 10


@pytest.mark.parametrize("module", MODULES)
def test_a_legend_has_every_letter_of_its_module(module: str) -> None:
    source = (ROOT / module).read_text()
    missing = {
        f"{name}: {letter}"
        for name in bound_names(source)
        for letter in suffix(name) or ""
        if not letter.isdigit() and letter not in legend(source)
    }
    assert not missing


@pytest.mark.parametrize("module", MODULES)
def test_a_legend_means_what_the_table_says(module: str) -> None:
    for letter, entry in legend((ROOT / module).read_text()).items():
        words = "|".join(rf"{word.removesuffix('s')}s?" for word in TABLE.get(letter, ["not in the table"]))
        assert re.match(rf"{letter}( [=≥] .+?)? ({words})\b", entry), entry


@pytest.mark.parametrize(("name", "letters"), [("x_nd", "nd"), ("weight_mgep", "mgep"), ("order_by", None)])
def test_suffix_tells_shapes_from_words(name: str, letters: str | None) -> None:
    assert suffix(name) == letters
