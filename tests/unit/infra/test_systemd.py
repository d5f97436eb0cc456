"""The units of systemd and the crontab: systemd accepts them, they lock services in, and they fit the command line."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from jobs.errors import INTERRUPTED, NO_CONVERGENCE, PARTIAL_FAILURE, ClusterError, ConfigError
from tests.infra_files import crontab_lines, gridline_words, parsed, unit_settings

ROOT = Path(__file__).parents[3]
SCHEDULES = ROOT / "infra" / "schedules"
FOLDER = SCHEDULES / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
UNITS = sorted({*SERVICES, *FOLDER.glob("*.timer")})
STATE = Path("/var/lib/gridline")
MOST_EXPOSED = 20  # of 100, in the words of `systemd-analyze security`: 2.0 of 10

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd: apt-get install systemd")


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for _, key, value in unit_settings(unit):
        found[key].append(value)
    return found


def the(unit: Path, key: str) -> str:
    """Return the only value of a key."""
    [value] = settings(unit)[key]
    return value


def words(unit: Path) -> list[str]:
    [found] = gridline_words(the(unit, "ExecStart").split())
    return found


def by_name(name: str) -> Path:
    return FOLDER / f"gridline-{name}"


@needs_systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text().replace("/opt/gridline/bin/gridline", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    checked = ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if "gridline-" in line or str(tmp_path) in line]
    assert (done.returncode, lines) == (0, [])


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_service_is_locked_in(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


@needs_systemd
def test_the_timer_and_the_crontab_start_the_job_at_the_same_time() -> None:
    timer = by_name("train.timer")
    when = the(timer, "OnCalendar")
    done = subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, text=True, check=True)
    assert f"Normalized form: {when}" in done.stdout
    [(times, _)] = crontab_lines(SCHEDULES / "crontab")
    minute, hour, *days = times.split()
    assert when == f"*-*-* {int(hour):02}:{int(minute):02}:00"
    assert days == ["*", "*", "*"]
    assert the(timer, "Unit") == "gridline-train.service"
    assert (the(timer, "Persistent"), the(timer, "WantedBy")) == ("true", "timers.target")
    assert the(timer, "RandomizedDelaySec")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_service_writes_its_state_folder_alone(unit: Path) -> None:
    assert (the(unit, "User"), the(unit, "ProtectSystem"), the(unit, "NoNewPrivileges")) == (
        "gridline",
        "strict",
        "yes",
    )
    made = {Path("/var/lib") / name for name in the(unit, "StateDirectory").split()}
    assert STATE in made
    assert Path(the(unit, "WorkingDirectory")) in made
    assert Path(the(unit, "Environment").removeprefix("TMPDIR=")) in made
    arguments = parsed(words(unit))
    paths = [value for name, value in arguments.items() if name in {"folder", "metrics_file", "token_file"} and value]
    assert all(Path(path).is_relative_to(STATE) for path in paths)


def test_exit_codes_of_the_job_say_whether_to_try_again() -> None:
    unit = by_name("train.service")
    needs_a_person = {ConfigError.exit_code, NO_CONVERGENCE, PARTIAL_FAILURE}
    assert {int(code) for code in the(unit, "RestartPreventExitStatus").split()} == needs_a_person
    assert ClusterError.exit_code not in needs_a_person
    assert int(the(unit, "SuccessExitStatus")) == INTERRUPTED
    assert (the(unit, "Type"), the(unit, "Restart")) == ("oneshot", "on-failure")
    assert int(the(unit, "StartLimitBurst")) > 1


def test_the_services_and_the_crontab_agree() -> None:
    serve, follow = parsed(words(by_name("serve.service"))), parsed(words(by_name("follow.service")))
    assert follow["management"] == f"http://127.0.0.1:{serve['management_port']}"
    assert follow["token_file"].parent == serve["folder"]
    assert int(the(by_name("serve.service"), "TimeoutStopSec")) > serve["grace_s"]
    [(_, line)] = crontab_lines(SCHEDULES / "crontab")
    assert " ".join(words(by_name("train.service"))) in line
    assert "%" not in line  # cron makes a new line of it
    environment = the(by_name("train.service"), "EnvironmentFile")
    assert f". {environment} " in line
    assert f"cd {the(by_name('train.service'), 'WorkingDirectory')} " in line


def test_the_environment_has_names_and_no_secret() -> None:
    lines = [line for line in (FOLDER / "gridline.env.example").read_text().splitlines() if not line.startswith("#")]
    found = dict(line.split("=", 1) for line in lines)
    assert found.keys() == {
        "GRIDLINE_STORE", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    }  # fmt: skip
    assert found["AWS_ACCESS_KEY_ID"] == found["AWS_SECRET_ACCESS_KEY"] == ""
    assert not [line for line in lines if re.search(r"[\"'$` ]", line)]  # systemd and sh read them alike
