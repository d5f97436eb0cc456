"""The tables that people read."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from jobs.cli.tables import print_outcome, print_plan
from jobs.groups.plan import GroupsPlan
from jobs.plan import Plan
from jobs.reports.outcome import DatasetOutcome, JobOutcome
from jobs.training.datasets import train_dataset
from tests.oracles import grid
from tests.samples.datasets import dataset, recipe


def test_table_of_a_grid_has_a_column_for_what_any_trial_has() -> None:
    way = recipe()
    points = grid([0.01, 0.01], momentum=[0.0, 0.9])
    trained = train_dataset(dataset(), replace(way, hyperparameters=points))
    text = io.StringIO()
    outcome = JobOutcome("run", "plants", 1, True, (DatasetOutcome("a", "kept", trained, None),))
    print_outcome(Console(file=text, width=200), outcome)
    assert "momentum" in text.getvalue()
    assert "weight_decay" not in text.getvalue()


def test_plan_of_groups_has_the_first_reasons_and_the_number_of_the_others() -> None:
    failures = {f"store-{i:02d}": "it has no rows" for i in range(25)}
    text = io.StringIO()
    plan = Plan("stores", recipe(), (), (), (GroupsPlan("stores", 30, failures, {}, ()),))
    print_plan(Console(file=text, width=200), plan)
    lines = text.getvalue().splitlines()
    assert "stores: store-19: it has no rows" in lines
    assert lines[-1] == "stores: and 5 more: see --json"
