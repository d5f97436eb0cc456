"""How `make test` divides the tests among the workers of pytest-xdist: files that share a server stay together.

A server of a session is started once for each worker that asks for it. The names of tests are left as they are, unlike
with xdist's own marker, so that `--last-failed` finds them in a run without workers.
"""

from __future__ import annotations

from typing import Any

import pytest

# What takes longest first: what is begun last should be short. A file is of the first group whose beginning it has.
GROUPS = {
    "head": (
        *("tests/e2e/test_ray_serve.py", "tests/integration/test_fleet.py", "tests/integration/test_gangs.py"),
        *(
            "tests/integration/test_row_fleets.py",
            "tests/integration/test_train.py",
            "tests/soak/test_monitoring_soak.py",
        ),
        "tests/soak/test_cron_job_soak.py",
    ),
    "S3": (
        *("tests/e2e/test_run_for_real.py", "tests/integration/test_resume_s3.py", "tests/integration/test_store_"),
        *("tests/integration/test_lost_blobs.py", "tests/integration/test_outage.py", "tests/soak/test_ledger_"),
        *("tests/soak/test_endpoint_soak.py", "tests/soak/test_roles_soak.py"),
        "tests/unit/jobs/sources/test_sources_s3.py",
    ),
    "nodes": ("tests/integration/test_cluster", "tests/integration/test_fleet_on_nodes.py", "tests/soak/test_kill.py"),
    "README": ("tests/e2e/test_readme.py",),
    "TorchServe": ("tests/e2e/test_serving_",),
}
PLACES = {name: place for place, name in enumerate(GROUPS)}


def group_of(nodeid: str) -> str:
    """Return the name of the tests that one worker runs together with this one: a group, or its file."""
    file = nodeid.partition("::")[0]
    return next((name for name, beginnings in GROUPS.items() if file.startswith(beginnings)), file)


def place_of(nodeid: str) -> int:
    """Return which of the groups a test is in, from 0; those that are in none come last."""
    return PLACES.get(group_of(nodeid), len(GROUPS))


def scheduler(config: pytest.Config, log: Any) -> Any:
    """Return what hands out whole groups, in the order in which the tests were collected."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False  # else by their number of tests
    return Groups(config, log)
