"""Files that use a server are in the group of it, so that it is started once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.parallel import GROUPS, group_of

ROOT = Path(__file__).parents[2]
FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
SERVERS = {
    "head": "ray_head",
    "nodes": "raylets|ray_nodes",
    "TorchServe": "served_stores",
    "S3": "ceph_server|s3_server|place|proxied",
}


def servers_of(file: Path) -> set[str]:
    """Return the groups of the servers that the arguments of a file's tests and fixtures name."""
    text = (ROOT / file).read_text()
    return {
        group
        for group, names in SERVERS.items()
        if re.search(rf"^(?:    |def \w+\(|.*, )(?:{names}): [A-Z]", text, re.MULTILINE)
    }


@pytest.mark.parametrize("file", [file for file in FILES if servers_of(file)], ids=str)
def test_a_file_that_uses_a_server_is_in_the_group_of_it(file: Path) -> None:
    assert group_of(f"{file}::test") in servers_of(file)


def test_each_server_is_used() -> None:
    assert set().union(*map(servers_of, FILES)) == set(SERVERS)


@pytest.mark.parametrize("group", GROUPS)
def test_groups_name_files_that_are_there(group: str) -> None:
    for beginning in GROUPS[group]:
        assert any(str(file).startswith(beginning) for file in FILES), beginning


def test_a_file_in_no_group_stays_together() -> None:
    assert group_of("tests/unit/test_parallel.py::test_a[x::y]") == "tests/unit/test_parallel.py"
