"""Which processes there are: the descendants of one, and whether they are still running."""

from __future__ import annotations

from pathlib import Path

OF_RAY = {"IDLE", "DashboardAgent", "RuntimeEnvAgent", "_AutoscalingCoordinatorActor"}  # its own, of which it keeps one


def descendants(pid: int) -> list[tuple[int, str]]:
    """Return the process ids below `pid`, each with its start time, so that a reused id is not taken for it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (fields := _fields(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        waiting += below
        found += [(each, fields[19]) for each in below if (fields := _fields(each))]
    return found


def is_running(process: tuple[int, str]) -> bool:
    """Return whether a process is still there, and not a zombie."""
    fields = _fields(process[0])
    return bool(fields) and fields[19] == process[1] and fields[0] not in "ZX"


def workers_of(task: str, pid: int) -> list[int]:
    """Return the Ray workers below `pid` that run a task whose name begins so: Ray gives it to the process."""
    return [each for each, _ in descendants(pid) if _command(each).startswith(f"ray::{task}")]


def jobs_below(pid: int) -> set[str]:
    """Return what the Ray processes below `pid` are, or do, by the first words of their names; but for Ray's own."""
    commands = [_command(each) for each, _ in descendants(pid)]
    return {command.split()[0].removeprefix("ray::") for command in commands if command.startswith("ray::")} - OF_RAY


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on, or nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
