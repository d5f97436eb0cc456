"""The import rules of docs/architecture.md, read from the source."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gridline", "jobs", "model_store", "handler")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ROOMS = {
    "ray": {"jobs/cluster/ray_cluster.py", "jobs/cluster/ray_train.py", "jobs/cluster/ray_serve.py"},
    "ray.serve": {"jobs/cluster/ray_serve.py"},
    "torch.distributed": {"jobs/cluster/ddp.py"},
    "boto3": {"model_store/objects/s3.py"},
    "model_archiver": {"model_store/archives/archive.py"},
    "ts": set(),
}
RUN_WITH = ("gridline", "jobs", "model_store", "handler", "infra")
DEVELOPED_WITH = ("tests", "benchmarks", "examples")
NOT_IMPORTED = {"pandas", "scikit-learn", "torchserve"}  # pyproject.toml says of each why it is there
OF_HANDLER = {"torch", "numpy", "safetensors"}


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


def house() -> list[str]:
    """Return the folders and lone modules of docs/architecture.md, from the top down."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    listed = re.search(r"^## The house$.*?^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert listed
    return [line.split()[0].rstrip("/") for line in listed[1].splitlines()]


HOUSE = house()
CLIENTS = (
    ROOT / "tests" / "clients"
)  # scripts that run in an environment of their own, which its requirements.txt lists


def room(path: Path) -> str:
    """Return the entry of the house that a module belongs to: its own, or that of its folder."""
    own = path.relative_to(ROOT).as_posix()
    return own if own in HOUSE else str(Path(own).parent)


def module_of(name: str) -> Path | None:
    """Return the file of an imported name of ours: a module, a name within one, or a package."""
    for dotted in (name, name.rpartition(".")[0]):
        path = ROOT.joinpath(*dotted.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def third_parties(folders: tuple[str, ...], *, types: bool = True) -> set[str]:
    """Return the distributions that the modules of folders import; without `types`, not those for mypy alone."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    trees = [ast.parse(path.read_text()) for path in paths if not path.is_relative_to(CLIENTS)]
    typed = {id(each) for tree in trees for node in ast.walk(tree) if for_types(node) for each in ast.walk(node)}
    nodes = [node for tree in trees for node in ast.walk(tree) if types or id(node) not in typed]
    tops = {name.partition(".")[0] for node in nodes for name in absolute_names(node)}
    ours = sys.stdlib_module_names | set(RUN_WITH) | set(DEVELOPED_WITH)
    installed = packages_distributions()
    return {canonical(installed[top][0]) for top in tops - ours}


def for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def absolute_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and not node.level and node.module else []


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(group: str | None = None) -> set[str]:
    """Return the distributions that pyproject.toml declares: those that the packages need, or those of a group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["optional-dependencies"][group] if group else project["dependencies"]
    return {canonical(re.split(r"[^\w.-]", requirement)[0]) for requirement in listed}


def declared_extras() -> set[str]:
    """Return the distributions of the groups that users may install."""
    return declared("excel") | declared("onnx")


def imported_rooms(path: Path) -> dict[str, str]:
    """Return the rooms that a module imports from, other than its own, each with a name that it imports."""
    files = {name: module_of(name) for name in imported(path) if name.split(".")[0] in PACKAGES}
    return {room(file): name for name, file in files.items() if file is not None and room(file) != room(path)}


def stated_importers(folder: str) -> set[str]:
    """Return who may import a folder, as its `__init__.py` says."""
    docstring = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or ""
    stated = re.search(r"^Imported by: (.*?)\.$", docstring, re.MULTILINE | re.DOTALL)
    assert stated, f"{folder}/__init__.py does not say who may import it"
    assert re.search(r"^In: ", docstring, re.MULTILINE), folder
    assert re.search(r"^Out: ", docstring, re.MULTILINE), folder
    return {name.strip() for name in stated[1].split(",")}


FOLDERS = [entry for entry in HOUSE if not entry.endswith(".py")]


def test_imports_are_found() -> None:
    names = imported(ROOT / "jobs" / "engines" / "closed_form" / "engine.py")
    assert {"torch.Tensor", "jobs.engines.moments.leaving_out"} <= names
    relative = imported(ROOT / "handler" / "answers" / "scoring.py")
    assert "handler.models.stack.ServedStack" in relative


def test_house_names_every_module_once() -> None:
    assert len(set(HOUSE)) == len(HOUSE)
    assert {room(path) for path in MODULES if path.name != "__init__.py" or path.read_text()} == set(HOUSE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_are_from_below(path: Path) -> None:
    """No folder imports from one above it, so none imports in a circle."""
    below = HOUSE[HOUSE.index(room(path)) + 1 :] if room(path) in HOUSE else []
    assert not {entry: name for entry, name in imported_rooms(path).items() if entry not in below}


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_of_a_folder_are_by_those_that_it_names(folder: str) -> None:
    importing = {room(path) for path in MODULES if folder in imported_rooms(path)}
    assert importing == stated_importers(folder)


def test_unit_tests_mirror_the_folders() -> None:
    unit = ROOT / "tests" / "unit"
    folders = {path.parent.relative_to(unit).as_posix() for path in unit.rglob("test_*.py")} - {"."}
    assert "jobs/engines" in folders
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


@pytest.mark.parametrize(("package", "above"), [("model_store", ["jobs"]), ("handler", ["jobs", "model_store"])])
def test_imports_point_one_way(package: str, above: list[str]) -> None:
    for name in above:
        assert importers(name)
        assert not {each for each in importers(name) if each.startswith(f"{package}/")}


@pytest.mark.parametrize("package", ROOMS)
def test_imports_of_what_has_one_room_are_nowhere_else(package: str) -> None:
    assert importers(package) == ROOMS[package]


def test_imports_of_the_packages_are_the_dependencies() -> None:
    assert third_parties(RUN_WITH, types=False) == (declared() | declared_extras()) - NOT_IMPORTED


def test_imports_of_tests_benchmarks_and_examples_are_declared() -> None:
    assert third_parties(RUN_WITH + DEVELOPED_WITH) <= declared() | declared("excel") | declared("onnx") | declared(
        "dev"
    )


def test_declared_dependencies_are_pinned() -> None:
    pins = {canonical(line.partition("==")[0]) for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert declared() | declared("onnx") | declared("dev") <= pins


def test_imports_of_the_handler_are_few_and_its_own_are_relative() -> None:
    for path in MODULES:
        if not path.is_relative_to(ROOT / "handler"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            tops = {name.partition(".")[0] for name in absolute_names(node)}
            assert tops <= OF_HANDLER | sys.stdlib_module_names, path.name


def test_imports_of_the_core_are_of_no_edge() -> None:
    """Engines, statistics and selection are pure: no file, no cluster, no store."""
    core = [*(ROOT / "jobs" / "engines").rglob("*.py"), ROOT / "jobs" / "champions" / "selection.py"]
    edges = ("ray", "boto3", "pyarrow", "pandas", "pathlib", "model_store", "jobs.cluster", "jobs.sources", "jobs.cli")
    for path in core:
        assert not [name for name in imported(path) if any(within(name, edge) for edge in edges)], path.name
