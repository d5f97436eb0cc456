"""The commands of infra/ as they stand: as a user without rights, on a read-only root, with one folder to write."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra_files import compose_services, crontab_lines, dockerfile_steps, unit_settings

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
READ_ONLY_ROOT = Path(__file__).with_name("read_only_root.sh")
NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
VOLUME = Path("/var/lib/gridline")
PROGRAMS = "/opt/gridline/bin"

pytestmark = [pytest.mark.soak, pytest.mark.ray, pytest.mark.torchserve, pytest.mark.timeout(240)]

# Trains, trains again, serves, deploys, and stops both: the follower's last look at the store shows that it works.
SCRIPT = """\
set -eu
! touch /tmp/gridline-probe 2>/dev/null
! touch {volume}/../gridline-probe 2>/dev/null
(umask 077; {train})
{train_again}
{serve} &
server=$!
trap 'kill -KILL $server 2>/dev/null || true' EXIT
until {probe}; do kill -0 $server; sleep 0.2; done
{follow} &
follower=$!
looks={volume}/server/control/followers/plants.json
until grep -q '"problem": null' $looks 2>/dev/null; do kill -0 $follower; sleep 0.2; done
gridline predict plants --url http://127.0.0.1:8080 --token-file {volume}/server --dataset plant_richness --set area=3
kill -TERM $follower; code=0; wait $follower || code=$?; echo "follower $code"
kill -TERM $server; code=0; wait $server || code=$?; echo "server $code"
stat -c 'of user %u' {volume}/server/torchserve.log
"""


@dataclass(frozen=True)
class Machine:
    """Where the commands run: a folder that they may write, and what their files say is there."""

    volume: Path
    programs: Path
    settings: Path

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script on a read-only root, and return how it ended."""
        needed = [sys.base_prefix, str(Path(sys.executable).parents[1]), str(ROOT), *packages()]
        checks = INFRA / "containers"
        places = [f"{self.volume}:{VOLUME}", f"{self.programs}:/opt/gridline", f"{self.settings}:/etc/gridline"]
        variables = [
            f"PATH={PROGRAMS}:/usr/bin:/bin",
            "HOME=/var/lib/gridline",
            "USER=gridline",
            "RAY_USAGE_STATS_ENABLED=0",
        ]
        command = [
            *NAMESPACES,
            "bash",
            READ_ONLY_ROOT,
            *needed,
            "--",
            *places,
            f"{checks}:/usr/local/lib/gridline",
            "--",
        ]
        shell = ["env", "--ignore-environment", *variables, "bash", "-c", script]
        return subprocess.run([*command, *shell], capture_output=True, text=True, timeout=200, check=False, cwd="/")


def packages() -> list[str]:
    """Return the folders from which this Python imports that are not in its own environment."""
    return sorted({path for path in sys.path if path.endswith("site-packages")})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if (
        os.geteuid() != 0
        or not shutil.which("unshare")
        or subprocess.run([*NAMESPACES, "true"], check=False).returncode
    ):
        pytest.skip("needs the rights of root, to make a read-only root and to become another user")
    if not shutil.which("ip"):
        pytest.skip("needs ip: apt-get install iproute2")
    machine = Machine(tmp_path / "volume", tmp_path / "programs", tmp_path / "settings")
    for folder in (machine.volume / "job", machine.programs / "bin", machine.settings):
        folder.mkdir(parents=True)
    for name, start in (("gridline", "-m jobs"), ("python", "")):
        program = machine.programs / "bin" / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {start} "$@"\n')
        program.chmod(0o755)
    (machine.settings / "gridline.env").write_text(f"GRIDLINE_STORE={VOLUME}/store\nRAY_USAGE_STATS_ENABLED=0\n")
    (machine.settings / "job.yaml").write_bytes((INFRA / "compose" / "job.yaml").read_bytes())
    shutil.copytree(ROOT / "examples" / "data", machine.settings / "data")
    for folder in (machine.volume, machine.volume / "job"):
        os.chown(folder, 1000, 1000)
    return machine


def unit(name: str) -> str:
    """Return the command of a unit, with its environment and in its folder, as systemd would run it."""
    found = {
        key: value for _, key, value in unit_settings(INFRA / "schedules" / "systemd" / f"gridline-{name}.service")
    }
    environment = f"set -a; . {found['EnvironmentFile']}; {found['Environment']}; set +a"
    return f"(cd {found['WorkingDirectory']}; {environment}; exec {found['ExecStart']})"


def container(name: str) -> str:
    """Return the command of a service of compose, with the environment of its image and the store of this test."""
    [words] = [service.words for service in compose_services() if service.name == name]
    return in_image(words)


def in_image(words: Sequence[str]) -> str:
    [settings] = [text for stage, kind, text in steps() if (stage, kind) == ("runtime", "ENV")]
    kept = [word for word in shlex.split(settings) if not word.startswith("PATH=")]
    return f"(cd {VOLUME}; exec env GRIDLINE_STORE={VOLUME}/store {shlex.join([*kept, *words])})"


def of_image(instruction: str) -> list[str]:
    """Return the command of an instruction of the image `serve`, as it stands."""
    [text] = [text for stage, kind, text in steps() if (stage, kind) == ("serve", instruction)]
    return [str(word) for word in json.loads(text[text.index("[") :])]


def steps() -> list[tuple[str, str, str]]:
    return dockerfile_steps(INFRA / "containers" / "Dockerfile")


def script(**commands: str) -> str:
    return SCRIPT.format(volume=VOLUME, **commands, probe=shlex.join(of_image("HEALTHCHECK")) + " >/dev/null")


def ended_well(done: subprocess.CompletedProcess[str]) -> None:
    assert done.stdout.splitlines()[-4:] == ["2.4032664", "follower 0", "server 0", "of user 1000"], done
    assert "Traceback" not in done.stdout + done.stderr


def test_units_and_crontab_run_as_they_stand_without_rights(machine: Machine) -> None:
    [(_, line)] = crontab_lines(INFRA / "schedules" / "crontab")
    commands = {"train": unit("train"), "serve": unit("serve"), "follow": unit("follow")}
    done = machine.run(script(train_again=f"sh -c {shlex.quote(line)}", **commands))
    ended_well(done)
    assert "committed plants version 1" in done.stdout
    assert "all as version 1 has them" in (machine.volume / "job" / "train.log").read_text()


def test_containers_run_as_they_stand_without_rights(machine: Machine) -> None:
    serve = in_image(of_image("CMD"))
    train = in_image(["gridline", "train", "/etc/gridline/job.yaml"])
    done = machine.run(script(train=train, train_again=train, serve=serve, follow=container("follower")))
    ended_well(done)
