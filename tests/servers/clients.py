"""The environment of clients of others, whose pins conflict with gridline's: `make clients` installs it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from model_store.torchserve.client import read_key
from tests.servers.torchserve import COLLECTION, ServedStores

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv" / "clients"
SCRIPTS = ROOT / "tests" / "clients"


def clients_python() -> Path:
    """Return the Python of the clients; skip the test if they are not installed."""
    python = CLIENTS / "bin" / "python"
    if not (CLIENTS / ".installed").exists():
        pytest.skip("the clients of others are not installed: run 'make clients'")
    return python


def run_client(served: ServedStores, script: str) -> dict[str, Any]:
    """Return the JSON that a script of tests/clients prints; it finds the endpoint in its environment."""
    settings = served.server.settings
    endpoint = {
        "ADDRESS": f"127.0.0.1:{settings.ports.inference}",
        "KEY": read_key(settings.key_file, "inference"),
        "COLLECTION": COLLECTION,
    }
    command = [str(clients_python()), "-W", "ignore", str(SCRIPTS / script)]
    done = subprocess.run(command, env=os.environ | endpoint, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
