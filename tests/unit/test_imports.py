"""The import rules of docs/architecture.md, read from the source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("jobs", "model_store", "handler")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ROOMS = {
    "ray": {"jobs/cluster.py", "jobs/trainers.py"},
    "torch.distributed": {"jobs/ddp.py"},
    "boto3": {"model_store/s3.py"},
    "model_archiver": {"model_store/archive.py"},
    "ts": {"handler/linear_handler.py"},
}
OF_HANDLER = {"torch", "numpy", "safetensors", "ts"}


@cache
def imported(path: Path) -> frozenset[str]:
    """Return the absolute names that a module imports, anywhere in it; relative ones by their package."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def importers(package: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for path in MODULES if any(within(name, package) for name in imported(path))}


def test_imports_are_found() -> None:
    names = imported(ROOT / "jobs" / "engines" / "closed_form.py")
    assert {"torch.Tensor", "jobs.moments.leaving_out"} <= names
    relative = imported(ROOT / "jobs" / "config" / "job.py")
    assert "jobs.config.grid.GridConfig" in relative


@pytest.mark.parametrize(("package", "above"), [("model_store", ["jobs"]), ("handler", ["jobs", "model_store"])])
def test_imports_point_one_way(package: str, above: list[str]) -> None:
    for name in above:
        assert not {each for each in importers(name) if each.startswith(f"{package}/")}


@pytest.mark.parametrize("package", ROOMS)
def test_imports_of_what_has_one_room_are_nowhere_else(package: str) -> None:
    assert importers(package) <= ROOMS[package]


def test_imports_of_the_handler_are_few_and_its_own_are_relative() -> None:
    for path in MODULES:
        if not path.is_relative_to(ROOT / "handler"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            absolute = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                absolute = [node.module]
            tops = {name.partition(".")[0] for name in absolute}
            assert tops <= OF_HANDLER | sys.stdlib_module_names, path.name


def test_imports_of_the_core_are_of_no_edge() -> None:
    """Engines, statistics, selection and planning are pure: no file, no cluster, no store."""
    core = [*(ROOT / "jobs" / "engines").glob("*.py")]
    core += [ROOT / "jobs" / f"{name}.py" for name in ("moments", "trials", "certificate", "selection", "validation")]
    edges = ("ray", "boto3", "pyarrow", "pandas", "pathlib", "model_store", "jobs.cluster", "jobs.sources", "jobs.cli")
    for path in core:
        assert not [name for name in imported(path) if any(within(name, edge) for edge in edges)], path.name
