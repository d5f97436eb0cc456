"""What a run did is told later, from its folder alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.champions.batch import Batch
from jobs.champions.challengers import challengers_of
from jobs.cli import main
from jobs.recipe import Policy
from jobs.reports.outcome import DatasetOutcome, JobOutcome
from jobs.reports.past_runs import keep_results, run_document, run_documents
from jobs.trials.table import trials_parquet
from model_store import open_ledger
from model_store.errors import UnknownRunError, UnknownStoreError
from model_store.ledger.ledger import Ledger
from tests.samples.datasets import dataset, trained

CONFIGURATION = {
    "name": "plants",
    "datasets": [{"name": "a", "source": ["a.csv"], "target": "y", "features": [{"name": "u"}, {"name": "v"}]}],
    "grid": {"learning_rate": [0.01, 0.1]},
}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return open_ledger(str(tmp_path / "store"))


def run(ledger: Ledger, run_id: str = "first", *, results: bool = True) -> JobOutcome:
    """Store what a run leaves in its folder."""
    folder, of = ledger.run(run_id), trained(epochs=6000)
    folder.create("configuration.json", json.dumps(CONFIGURATION).encode())
    folder.create("trials/0.parquet", trials_parquet([of.trials()]))
    best = challengers_of(of, of.trials(), Policy("train_mse", "min"), inference_statistics=True)
    assert best is not None
    outcome = DatasetOutcome("a", "not committed", of, Batch(best, Policy("train_mse", "min"), dataset()))
    job = JobOutcome(run_id, "plants", 3, True, (outcome,))
    if results:
        keep_results(folder, job)
    return job


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_run_is_told_as_train_told_it(ledger: Ledger) -> None:
    job = run(ledger)
    document = run_document(ledger, "first")
    assert document["datasets"] == json.loads(json.dumps(list(job.documents())))
    assert (document["collection"], document["version"], document["committed"]) == ("plants", 3, True)
    assert document["configuration"] == CONFIGURATION


def test_run_that_kept_no_results_is_told_by_its_trials(ledger: Ledger) -> None:
    job = run(ledger, results=False)
    document = run_document(ledger, "first")
    (each,) = document["datasets"]
    assert each["trials"] == json.loads(json.dumps(next(job.documents())["trials"]))
    assert (each["best"], document["version"]) == (None, None)


def test_runs_are_listed_with_their_collection_and_version(ledger: Ledger) -> None:
    run(ledger)
    run(ledger, "second")
    listed = {each["run_id"]: each for each in run_documents(ledger)[1]}
    assert listed.keys() == {"first", "second"}
    assert {(each["collection"], each["version"], each["num_datasets"]) for each in listed.values()} == {
        ("plants", 3, 1)
    }


def test_unknown_run_and_unknown_store_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(UnknownStoreError):
        run_documents(open_ledger(str(tmp_path / "nowhere")))
    run(ledger)
    with pytest.raises(UnknownRunError, match="the store has no run 'third': 'gridline runs list' lists its runs"):
        run_document(ledger, "third")


def test_runs_show_prints_configuration_trials_and_choice(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    run(ledger)
    text = printed(capsys, "runs", "show", "first", "--store", ledger.uri)
    assert "learning_rate:" in text
    assert "bias" not in text  # a default
    assert "epochs to converge" in text
    assert "a: best at learning rate 0.1: " in text
    assert "a: chosen: " in text
    assert "committed plants version 3" in text


def test_runs_list_prints_a_row_for_each(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    run(ledger)
    text = printed(capsys, "runs", "list", "--store", ledger.uri)
    assert "first" in text and "plants" in text
    listed: dict[str, Any] = json.loads(printed(capsys, "runs", "list", "--store", ledger.uri, "--json"))
    assert [each["run_id"] for each in listed["runs"]] == ["first"]


def test_runs_list_is_of_the_newest_and_says_how_many_there_are(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        run(ledger, f"run-{number}")
    listed = json.loads(printed(capsys, "runs", "list", "--store", ledger.uri, "--limit", "2", "--json"))
    assert ([each["run_id"] for each in listed["runs"]], listed["num_runs"]) == (["run-2", "run-1"], 3)
    text = printed(capsys, "runs", "list", "--store", ledger.uri, "--limit", "2")
    assert "3 runs, the newest 2 of them (--limit)" in text
