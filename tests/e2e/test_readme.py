"""Every command of the README is run, and prints what the README shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from jobs.cli import app
from tests.e2e.readme import README, ROOT, Command, agrees, blocks, commands
from tests.e2e.session import Printed, Session, aws_variables
from tests.servers.stores import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.torchserve, pytest.mark.timeout(400)]

DEMO = "make demo"
FAILS = "gridline predict plants --set aera=3"
COMMANDS = commands()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, moto_server: S3Server) -> Iterator[Session]:
    settings = moto_server.settings
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
    )
    client.create_bucket(Bucket="models")
    with Session(tmp_path_factory.mktemp("readme"), aws_variables(settings)) as opened:
        yield opened


@pytest.fixture(scope="module")
def transcript(session: Session) -> dict[Command, Printed]:
    """Every command with what it printed, run one after the other as a reader would; the demo beside them all."""
    missing = {name for name in ("curl",) if shutil.which(name) is None}
    [demo] = [command for command in COMMANDS if command.text == DEMO]
    others = [command for command in COMMANDS if command is not demo and command.text.split()[0] not in missing]
    with ThreadPoolExecutor() as pool:
        beside = pool.submit(session.run_beside, DEMO)
        printed = {command: session.run(command.text) for command in others}
        return printed | {demo: beside.result()}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.text[:60])
def test_readme_command_prints_what_the_readme_shows(command: Command, transcript: dict[Command, Printed]) -> None:
    if command not in transcript:
        pytest.skip("curl not installed: apt-get install -y curl")
    printed = transcript[command]
    assert (printed.code != 0) is (command.text == FAILS), printed.stderr
    shown = printed.stdout if printed.code == 0 else printed.stderr
    assert agrees(command.shown, shown), f"{command.text} printed\n{shown}\n{printed.stderr}"


def test_readme_python_prints_what_its_comments_say(
    session: Session, transcript: dict[Command, Printed], tmp_path: Path
) -> None:
    [(_, code)] = blocks("python")
    script = tmp_path / "readme.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=session.folder, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == re.findall(r"^print\(.*\)  # (.+)$", code, re.MULTILINE), done.stderr


def test_readme_demo_and_test_are_what_make_runs() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # make may run this test
    tests = '-m pytest -n 3 --dist loadscope -m "not soak and not real"'
    for target, words in (("demo", "-m examples.demo"), ("test", tests)):
        dry = subprocess.run(["make", "-n", target], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        assert dry.stdout.splitlines()[-1].endswith(words)


def test_readme_shows_how_pytest_ends() -> None:
    [(_, shown)] = [block for block in blocks("text") if "passed" in block[1]]
    assert re.fullmatch(r"=+ \d+ passed(, \d+ \w+)* in [\d.]+s( \(\d:\d\d:\d\d\))? =+\n", shown)


def test_readme_lists_every_verb() -> None:
    verbs = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        verbs |= {f"{group.name} {command.name}" for command in group.typer_instance.registered_commands}
    listed = re.findall(r"^\| `([a-z ]+?)(?: [A-Z\[\] ]+)?` \|", README.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(str(verb) for verb in verbs)
