"""`gridline deploy --follow` as a process: its log, and how a signal ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.deployment.control import Control
from model_store.ledger.ledger import Ledger
from tests.servers.rollouts import MODEL
from tests.servers.torchserve import until

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ERROR version=5 run=run .*can't be reached at http://127.0.0.1:9")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_follow_with_exit_code_0(five_versions: Ledger, tmp_path: Path, number: signal.Signals) -> None:
    words = ["deploy", MODEL, "--follow", "--store", five_versions.uri, "--management", "http://127.0.0.1:9"]
    command = [sys.executable, "-m", "jobs", *words, "--model-store", str(tmp_path / "model-store")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "control" / "followers" / f"{MODEL}.json"
    try:
        until(state.exists, timeout_s=60)
        process.send_signal(number)
        printed, logged = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, printed) == (0, "")
    *lines, last = logged.splitlines()
    assert last.endswith("Z INFO version=none run=none stopped")
    assert all(LINE.match(line) for line in lines), logged
    written = json.loads(state.read_text())
    assert written["newest_version"] == 5
    assert "can't be reached" in written["problem"]


def test_a_deployment_says_whom_it_waits_for_and_that_it_was_interrupted(five_versions: Ledger, tmp_path: Path) -> None:
    words = ["deploy", MODEL, "--store", five_versions.uri, "--management", "http://127.0.0.1:9"]
    command = [sys.executable, "-m", "jobs", *words, "--model-store", str(tmp_path / "model-store")]
    with Control(tmp_path / "control").deploying(MODEL):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            waits = process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=30)
        finally:
            process.kill()
    assert waits == f"process {os.getpid()} is deploying {MODEL} on this server: waiting until it has ended\n"
    assert process.returncode == 130
    assert rest.startswith("gridline: interrupted: a canary is taken off, and one version serves")
