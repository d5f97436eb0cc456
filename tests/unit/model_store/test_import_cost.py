"""Importing the package is free: what is heavy comes when it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "pyarrow", "boto3", "numpy", "safetensors"}


def loaded_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return HEAVY & set(output.splitlines()[-1].split())


def test_import_loads_nothing_heavy() -> None:
    assert loaded_after("import model_store, model_store.errors") == set()


def test_open_of_a_folder_loads_nothing_heavy(tmp_path: Path) -> None:
    code = f"from model_store import open_ledger\nprint(open_ledger({str(tmp_path)!r}).collections())"
    assert loaded_after(code) == set()
