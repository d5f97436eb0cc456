from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from model_store.serving.child import last_lines, launch
from tests.servers.torchserve import until

ENVIRONMENT = {"PATH": os.environ["PATH"]}
STUBBORN = "trap '' TERM HUP INT; sleep 300 & echo $! > child; touch ready; while true; do wait; done"


def is_running(pid: int) -> bool:
    """Return whether a process is there, and not only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_kill_ends_the_child_and_its_children(tmp_path: Path) -> None:
    child = launch(["bash", "-c", STUBBORN], tmp_path, ENVIRONMENT, tmp_path / "out")
    until((tmp_path / "ready").exists)
    grandchild = int((tmp_path / "child").read_text())
    assert child.exit_code() is None
    child.kill()
    assert child.exit_code() == -signal.SIGKILL
    until(lambda: not is_running(grandchild))


def test_terminate_waits_for_a_child_that_ends_and_no_longer_than_allowed(tmp_path: Path) -> None:
    program = "trap 'exit 3' TERM; touch willing; while true; do sleep 0.01; done"
    willing = launch(["bash", "-c", program], tmp_path, ENVIRONMENT, tmp_path / "out")
    stubborn = launch(["bash", "-c", STUBBORN], tmp_path, ENVIRONMENT, tmp_path / "out")
    until(lambda: (tmp_path / "willing").exists() and (tmp_path / "ready").exists())
    willing.terminate(30.0)
    stubborn.terminate(0.05)
    assert (willing.exit_code(), stubborn.exit_code()) == (3, None)
    for child in (willing, stubborn):
        child.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_a_child_ends_with_its_parent_however_that_ends(tmp_path: Path, how: signal.Signals) -> None:
    program = f"""
        from pathlib import Path
        from model_store.serving.child import launch
        here = Path({str(tmp_path)!r})
        child = launch(["bash", "-c", {STUBBORN!r}], here, {ENVIRONMENT!r}, here / "out")
        (here / "pid").write_text(str(child.pid))
        child.wait()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)]) as parent:
        until((tmp_path / "ready").exists)
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        pids = [int((tmp_path / name).read_text()) for name in ("pid", "child")]
        assert all(map(is_running, pids))
        parent.send_signal(how)
    until(lambda: not any(map(is_running, pids)))


def test_a_child_has_the_given_environment_and_output_and_no_input(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before\n")
    child = launch(["bash", "-c", "env; cat; pwd; echo wrong >&2; exit 7"], tmp_path, {"A": "1"}, tmp_path / "out")
    assert child.wait() == 7
    child.kill()
    lines = (tmp_path / "out").read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-2:] == [str(tmp_path), "wrong"]
    names = {line.partition("=")[0] for line in lines[1:-2]}
    assert names - {"PWD", "SHLVL", "_"} == {"A"}  # and what bash adds


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such program"):
        launch(["/nowhere/java"], tmp_path, {}, tmp_path / "out")


def test_last_words_are_on_one_line_and_without_places(tmp_path: Path) -> None:
    log, output = tmp_path / "log", tmp_path / "out"
    log.write_text("one\ntwo\n\tat java.lang.Thread\n\nthree\n")
    output.write_text("four\nModel server started.\n")
    assert last_lines(log, output, without=["Model server"]) == "two | three | four"
    os.utime(log, (0, 0))
    assert last_lines(log, output, since=1.0) == "four | Model server started."
    assert last_lines(tmp_path / "nowhere") == "it said nothing"
