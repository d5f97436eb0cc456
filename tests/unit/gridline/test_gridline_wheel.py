"""Installed from a wheel, outside the checkout, the package works: the wheel holds all that it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("gridline", "jobs", "model_store", "handler", "infra")
FILES = ("pyproject.toml", "README.md", "LICENSE")
QUIET = ("--quiet", "--disable-pip-version-check", "--no-deps")
PLAN = """
import gridline
line = {"name": "line", "source": "line.csv", "target": "y", "features": ["x"], "validation": "none"}
plan = gridline.plan({"name": "lines", "datasets": [line], "grid": {"learning_rate": [0.1]}})
print(gridline.__file__, *plan.blocks[0])
"""
SHIPPED = """
from importlib.resources import files
print(*(each.name for each in files("infra.torchserve").iterdir()))
"""


def python(*arguments: str | Path, folder: Path, **environment: str) -> str:
    command = [sys.executable, *map(str, arguments)]
    env = os.environ | environment
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a wheel of this source is installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: setuptools writes beside what it reads
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    python("-m", "pip", "wheel", *QUIET, "--no-build-isolation", "--wheel-dir", folder, source, folder=folder)
    [wheel] = folder.glob("gridline-*.whl")
    python("-m", "pip", "install", *QUIET, "--target", folder / "installed", wheel, folder=folder)
    return folder / "installed"


def test_wheel_plans_a_job(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "line.csv").write_text("x,y\n0,1\n1,3\n2,5\n3,7\n")
    file, *block = python("-c", PLAN, folder=tmp_path, PYTHONPATH=str(installed)).split()
    assert (Path(file), block) == (installed / "gridline" / "__init__.py", ["line"])


def test_wheel_has_the_command_line(installed: Path, tmp_path: Path) -> None:
    shown = python("-m", "jobs", "--help", folder=tmp_path, PYTHONPATH=str(installed))
    assert "Usage: gridline" in shown
    assert (installed / "bin" / "gridline").is_file()


def test_wheel_has_the_configuration_of_torchserve(installed: Path, tmp_path: Path) -> None:
    shipped = python("-c", SHIPPED, folder=tmp_path, PYTHONPATH=str(installed)).split()
    assert {"config.properties", "log4j2.xml", "metrics.yaml"} <= set(shipped)
