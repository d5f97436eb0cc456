"""The wheel and the sdist, built as `make dist` does and run outside the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.soak
BUILD = "from setuptools import build_meta; import sys; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
TRAINED = """
import sys
import gridline, jobs, model_store
from pathlib import Path
assert Path(jobs.__file__).is_relative_to(sys.argv[1]), jobs.__file__
outcome = gridline.train({
    "name": "lines",
    "datasets": [{"name": "line", "source": "line.csv", "target": "y", "features": ["x"]}],
    "grid": {"learning_rate": "auto"},
}, dry_run=True)
print(outcome.exit_code)
"""


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Return what a command prints; it fails the test if it fails."""
    done = subprocess.run(
        [str(one) for one in command],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository, whose newest commit is tagged as a release."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout: the version of a release comes from its tag")
    folder = tmp_path_factory.mktemp("release") / "checkout"
    run("git", "clone", "-q", "--no-hardlinks", ROOT, folder, cwd=folder.parent)
    run("git", "tag", "v7.8.9", cwd=folder)
    return folder


def build(checkout: Path, kind: str, out: Path) -> Path:
    name = run(sys.executable, "-c", BUILD, kind, out, cwd=checkout).strip().rpartition("\n")[2]
    return out / name


def test_a_wheel_has_the_version_of_the_tag_and_runs_elsewhere(checkout: Path, tmp_path: Path) -> None:
    wheel = build(checkout, "build_wheel", tmp_path)
    assert wheel.name == "gridline-7.8.9-py3-none-any.whl"
    check_runs(wheel, tmp_path)


def test_an_sdist_builds_the_same_wheel_without_git(checkout: Path, tmp_path: Path) -> None:
    sdist = build(checkout, "build_sdist", tmp_path)
    assert sdist.name == "gridline-7.8.9.tar.gz"
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / "gridline-7.8.9"
    wheel = build(unpacked, "build_wheel", tmp_path)
    assert wheel.name == "gridline-7.8.9-py3-none-any.whl"
    check_runs(wheel, tmp_path)


def test_a_folder_without_git_is_built_too(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(".git"))
    assert re.fullmatch(r"gridline-\d+\.\d+\.\d+-py3-none-any\.whl", build(folder, "build_wheel", tmp_path).name)


def check_runs(wheel: Path, folder: Path) -> None:
    """Install a wheel in a folder of its own, over the packages of this environment, and use it there."""
    installed, work = folder / "installed", folder / "work"
    work.mkdir()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps")
    run(*pip, "--no-index", "--target", installed, wheel, cwd=work)
    work.joinpath("line.csv").write_text("x,y\n" + "".join(f"{x},{2 * x + 1}\n" for x in range(9)))
    python = (sys.executable, "-c")
    assert run(*python, TRAINED, installed, cwd=work, PYTHONPATH=str(installed)).splitlines()[-1] == "0"
    shipped = "from importlib import resources; print(*(p.name for p in resources.files('infra.torchserve').iterdir()))"
    names = run(*python, shipped, cwd=work, PYTHONPATH=str(installed)).split()
    assert {"config.properties", "log4j2.xml", "metrics.yaml"} <= set(names)
    assert "train" in run(sys.executable, "-m", "jobs", "--help", cwd=work, PYTHONPATH=str(installed))
