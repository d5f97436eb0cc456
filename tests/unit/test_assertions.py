"""Tests can fail: no assertion is of a form that nothing at all passes too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
EMPTY = {"[]", "{}", "()", "set()"}


def passed_by_nothing(source: str) -> list[int]:
    """Return the lines of assertions on `… or []`, and of those that all of what is found, if any, is of a set."""
    asserts = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    return [node.lineno for node in asserts if has_default(node.test) or is_subset(node.test)]


def has_default(test: ast.expr) -> bool:
    """Return whether a value that is absent counts as empty."""
    defaults = [node.values[-1] for node in ast.walk(test) if isinstance(node, ast.BoolOp)]
    return any(ast.unparse(each) in EMPTY for each in defaults)


def is_subset(test: ast.expr) -> bool:
    """Return whether the empty set passes: `{… for …} <= …`."""
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.SetComp) and isinstance(test.ops[0], ast.LtE)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("assert {t for t in trials or []} == {1}", True),
        ("assert {t for t in trials} <= {1}", True),
        ("assert {t for t in trials} == {1}", False),
        ("assert trials or [1]", False),
    ],
)
def test_assertions_that_nothing_passes_are_found(statement: str, found: bool) -> None:
    assert bool(passed_by_nothing(statement)) is found


def test_assertions_can_fail() -> None:
    files = sorted(TESTS.rglob("*.py"))
    assert Path(__file__) in files
    places = [f"{path.relative_to(TESTS)}:{line}" for path in files for line in passed_by_nothing(path.read_text())]
    assert places == []


def test_no_two_modules_of_tests_have_one_name() -> None:
    """Pytest imports them by their names."""
    names = [path.name for path in Path(__file__).parents[1].rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
