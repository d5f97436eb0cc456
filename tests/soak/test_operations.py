"""Every command of docs/operations.md is run, and prints what the page shows.

The storage is moto: Ceph's gateway 16.2 ignores the condition of a write in a bucket with versions, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.readme import ROOT, Command, agrees, commands
from tests.e2e.session import Session, aws_variables
from tests.servers.stores import S3Server

pytestmark = [pytest.mark.soak, pytest.mark.ray, pytest.mark.torchserve, pytest.mark.timeout(600)]
COMMANDS = commands(ROOT / "docs" / "operations.md")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, moto_server: S3Server) -> Iterator[Session]:
    with Session(tmp_path_factory.mktemp("operations"), aws_variables(moto_server.settings)) as opened:
        yield opened


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.text[:60])
def test_operations_command_prints_what_the_page_shows(command: Command, session: Session) -> None:
    printed = session.run(command.text)
    fails = command.shown.startswith("gridline: ")
    assert (printed.code != 0) is fails, printed.stderr
    if fails:  # the page shows the beginning of the line
        assert printed.stderr.startswith(command.shown.rstrip("…\n")), printed.stderr
    else:
        assert agrees(command.shown, printed.stdout), f"{command.text} printed\n{printed.stdout}\n{printed.stderr}"
