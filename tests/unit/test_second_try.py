"""`.ci/second_try` on a project of a few tests, of which some fail at the first try, or always."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "second_try"
TESTS = """
import pathlib, pytest

@pytest.mark.parametrize("number", range(NUMBER))
def test_that_passes_at_the_second_try(number):
    marker = pathlib.Path(f"tried-{number}")
    tried = marker.exists()
    marker.touch()
    assert tried

@pytest.mark.skipif(not BROKEN, reason="not broken")
def test_that_is_broken():
    assert False
"""


def gate(folder: Path, *, flaky: int, broken: bool = False) -> tuple[int, str]:
    """Run the tests of a new project, then a second try; return its exit code and what it printed."""
    (folder / ".ci").mkdir()
    shutil.copy(SCRIPT, folder / ".ci")
    (folder / "test_some.py").write_text(TESTS.replace("NUMBER", str(flaky)).replace("BROKEN", str(broken)))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    first = [sys.executable, "-m", "pytest", "-q"]
    assert subprocess.run(first, cwd=folder, env=env, capture_output=True, check=False).returncode == 1
    command = [folder / ".ci" / "second_try", folder / "second_tries", "-q"]
    env["PYTHON"] = sys.executable
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_second_try_that_passes_is_printed_by_name(tmp_path: Path) -> None:
    code, printed = gate(tmp_path, flaky=2)
    assert code == 0, printed
    assert "  test_some.py::test_that_passes_at_the_second_try[0]\n" in printed
    assert "  test_some.py::test_that_passes_at_the_second_try[1]\n" in printed
    assert "2 passed" in printed


def test_second_try_that_fails_fails(tmp_path: Path) -> None:
    code, printed = gate(tmp_path, flaky=0, broken=True)
    assert code == 1
    assert "  test_some.py::test_that_is_broken\n" in printed


@pytest.mark.parametrize(("flaky", "earlier"), [(3, ""), (1, "a.py::one\na.py::two\n")])
def test_second_try_of_more_than_two_fails_without_a_run(tmp_path: Path, flaky: int, earlier: str) -> None:
    (tmp_path / "second_tries").write_text(earlier)
    code, printed = gate(tmp_path, flaky=flaky)
    assert code == 1
    assert "more than 2 need a second try" in printed
    assert "passed" not in printed
