"""A rollback holds in jobs: of listed datasets and of groups, until the data change or the models are released."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from jobs.cli.tables import print_outcome
from jobs.reports.outcome import JobOutcome
from model_store import open_ledger
from tests.integration.test_group_parts import KEYS, Farm
from tests.samples.jobs import Jobs
from tests.servers.inline_cluster import InlineCluster

SLOW, BOTH = (0.02,), (0.02, 0.1)


@pytest.fixture
def jobs(tmp_path: Path, inline_cluster: InlineCluster) -> Jobs:
    """Return jobs whose better models of version 2 were rolled back."""
    jobs = Jobs(tmp_path, 2)
    assert jobs.run(jobs.config(SLOW)).committed and jobs.run(jobs.config(BOTH)).committed
    jobs.ledger.rollback(jobs.config(SLOW).name, 1, reason="wrong labels")
    return jobs


def said(outcome: JobOutcome) -> str:
    """Return what is printed of an outcome."""
    text = io.StringIO()
    print_outcome(Console(file=text, width=400), outcome)
    return text.getvalue()


def test_next_run_keeps_the_restored_champions_and_says_why(jobs: Jobs) -> None:
    for _ in range(2):
        outcome = jobs.run(jobs.config(BOTH))
        assert (outcome.committed, outcome.version, outcome.computed, outcome.exit_code) == (False, 3, 0, 0)
        assert {document["comparison"]["basis"] for document in outcome.documents()} == {"withdrawn"}
        assert {document["status"] for document in outcome.documents()} == {"kept"}
    assert "; kept (version 2's model was withdrawn by the rollback to version 1 (version 3: wrong labels); " in said(
        outcome
    )


def test_run_on_other_rows_is_promoted(jobs: Jobs) -> None:
    jobs.write(jobs.names[0], seed=77)
    outcome = jobs.run(jobs.config(BOTH))
    statuses = {document["dataset"]: document["status"] for document in outcome.documents()}
    assert statuses == {jobs.names[0]: "promoted", jobs.names[1]: "kept"}


def test_run_with_another_setting_of_training_is_promoted(jobs: Jobs) -> None:
    assert jobs.run(jobs.config((0.02, 0.11))).committed


def test_released_models_are_promoted_by_the_next_run(jobs: Jobs) -> None:
    jobs.ledger.release(jobs.config(BOTH).name)
    outcome = jobs.run(jobs.config(BOTH))
    assert (outcome.committed, outcome.version, outcome.computed) == (True, 5, 0)


def test_groups_are_kept_too_and_counted(tmp_path: Path, inline_cluster: InlineCluster) -> None:
    farm = Farm(tmp_path)
    assert farm.run(farm.config(SLOW)).committed and farm.run(farm.config(BOTH)).committed
    ledger = open_ledger(str(tmp_path / "store"))
    ledger.rollback("farms", 1)
    outcome = farm.run(farm.config(BOTH))
    assert (outcome.committed, outcome.fleets[0].num_withdrawn) == (False, len(KEYS))
    lines = said(outcome).splitlines()
    assert f"{len(KEYS)} are kept, because a rollback has withdrawn the new models" in lines[1]
    assert """'gridline models release farms "site """ in lines[2] and lines[2].endswith("lifts this")
    ledger.release("farms", ["site 3"])
    outcome = farm.run(farm.config(BOTH))
    assert (outcome.committed, outcome.fleets[0].num_promoted) == (True, 1)
