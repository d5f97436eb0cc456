"""A dataset that can't be found, read or regressed on fails alone, and all such datasets are named in one run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gridline
from jobs.cli.torchrun import failed_datasets
from jobs.config import JobConfig
from jobs.engines.minibatch.ranks import SingleProcess
from jobs.sources.job_datasets import read_in_memory
from tests.integration.farms import statuses
from tests.samples.tables import Tables
from tests.servers.command_line import plain
from tests.servers.inline_cluster import InlineCluster

BAD = {
    "text": "a,b,y\n1,-,3\n" + "".join(f"{n},{n * n},{3 * n}\n" for n in range(9)),
    "header": "a,b,y\n",
    "typo": "a,c,y\n1,2,3\n",
    "constant": "a,b,y\n" + "".join(f"{n},{n * n},3\n" for n in range(9)),
    "short": "a,b,y\n1,2,3\n",
    "ragged": "a,b,y\n1,2,3\n4,5\n",
}


@pytest.fixture
def tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tables:
    monkeypatch.chdir(tmp_path)
    return Tables(tmp_path, capsys)


@pytest.mark.parametrize("bad", [*BAD, "absent"])
@pytest.mark.parametrize("training", [{}, {"engine": "minibatch", "batch_size": 8}])
def test_train_commits_the_others_of_a_bad_dataset(
    tables: Tables, inline_cluster: InlineCluster, bad: str, training: dict[str, Any]
) -> None:
    tables.write_good("good", "fine")
    tables.write(**{name: text for name, text in BAD.items() if name == bad})
    code, out, _ = tables.run("train", tables.job("good", bad, "fine", **training), "--json")
    document = json.loads(out)
    assert (code, document["committed"]) == (5, True)
    assert [(each["dataset"], each["status"]) for each in document["datasets"]] == [
        ("good", "promoted"),
        (bad, "failed"),
        ("fine", "promoted"),
    ]
    reason = document["datasets"][1]["reason"]
    assert not reason.startswith("dataset")
    assert "\n" not in reason


@pytest.mark.parametrize("verb", ["plan", "train"])
def test_all_bad_datasets_are_named_in_one_run(tables: Tables, inline_cluster: InlineCluster, verb: str) -> None:
    tables.write(**BAD)
    tables.write_good("good")
    code, out, _ = tables.run(verb, tables.job("good", *BAD, "absent"))
    lines = out.splitlines()
    assert code == 5
    for name in [*BAD, "absent"]:
        assert [line for line in lines if line.startswith(f"{name}: failed: ")], name
    assert any("good" in line and "failed" not in line for line in lines)


@pytest.mark.parametrize("verb", ["plan", "train"])
def test_only_bad_datasets_are_one_line_each_and_no_cluster_is_joined(
    tables: Tables, inline_cluster: InlineCluster, verb: str
) -> None:
    tables.write(**BAD)
    job = tables.job(*BAD, "absent", datasets=({"name": "grouped", "source": "text.csv", "group_by": "ky"},))
    code, out, errors = tables.run(verb, job, "--json")
    assert (code, inline_cluster.num_joined) == (2, 0)
    assert sorted(line.split("'")[1] for line in errors) == sorted([*BAD, "absent", "grouped"])
    assert json.loads(out)["errors"] == [plain(line).removeprefix("gridline: ") for line in errors]
    assert not (tables.folder / "store").exists()


@pytest.mark.parametrize("verb", ["plan", "train"])
def test_strict_ends_the_job_before_anything_is_trained(
    tables: Tables, inline_cluster: InlineCluster, verb: str
) -> None:
    tables.write_good("good")
    tables.write(**BAD)
    code, _, errors = tables.run(verb, tables.job("good", "text", "typo"), "--strict")
    assert (code, inline_cluster.num_joined) == (2, 0)
    assert [line.split("'")[1] for line in errors] == ["text", "typo"]
    assert not (tables.folder / "store" / "versions").exists()


def test_strict_is_a_keyword_of_train_and_plan(tables: Tables, inline_cluster: InlineCluster) -> None:
    tables.write_good("good")
    tables.write(**BAD)
    job = tables.job("good", "text", "typo")
    assert gridline.plan(job).exit_code == 5
    assert gridline.train(job, dry_run=True).exit_code == 5
    for call in (lambda: gridline.plan(job, strict=True), lambda: gridline.train(job, dry_run=True, strict=True)):
        with pytest.raises(gridline.DatasetsError, match=r"dataset 'text': .*text\.csv:2: .*; dataset 'typo'") as error:
            call()
        assert len(error.value.lines) == 2


def test_train_again_tries_the_bad_dataset_again_and_keeps_the_others(
    tables: Tables, inline_cluster: InlineCluster
) -> None:
    tables.write_good("good")
    tables.write(**BAD)
    job = tables.job("good", "text")
    first, second = (gridline.train(JobConfig.model_validate(job)) for _ in range(2))
    tables.write(text="a,b,y\n" + "".join(f"{n},{n * n},{5 * n}\n" for n in range(9)))
    third, fourth = (gridline.train(JobConfig.model_validate(job)) for _ in range(2))
    assert [each.exit_code for each in (first, second, third, fourth)] == [5, 5, 0, 0]
    assert (second.computed, second.reused, third.computed, fourth.computed) == (0, 1, 1, 0)
    assert statuses(second) == {"good": "kept", "text": "failed"}
    assert statuses(third) == {"good": "kept", "text": "promoted"}


@pytest.mark.parametrize("scanned", ["typo", "absent", "text"])
def test_bad_source_of_groups_fails_beside_a_listed_dataset(
    tables: Tables, inline_cluster: InlineCluster, scanned: str
) -> None:
    tables.write_good("good")
    tables.write(**BAD)
    source = {"name": "stores", "source": f"{scanned}.csv", "group_by": "key"}
    outcome = gridline.train(tables.job("good", datasets=(source,)))
    assert outcome.exit_code == 5
    assert statuses(outcome) == {"good": "promoted", "stores": "failed"}


def test_groups_train_beside_a_bad_listed_dataset(tables: Tables, inline_cluster: InlineCluster) -> None:
    tables.write_good("stores", keys="pq")
    tables.write(**BAD)
    source = {"name": "stores", "source": "stores.csv", "group_by": "key"}
    outcome = gridline.train(tables.job("text", datasets=(source,)))
    assert outcome.exit_code == 5
    assert statuses(outcome) == {"p": "promoted", "q": "promoted", "text": "failed"}


def test_typo_in_group_by_is_one_line_before_a_cluster_is_joined(tables: Tables, inline_cluster: InlineCluster) -> None:
    tables.write_good("d", keys="pq")
    job = tables.job(datasets=({"name": "d", "source": "d.csv", "group_by": "kye"},))
    code, _, errors = tables.run("train", job)
    assert (code, inline_cluster.num_joined) == (2, 0)
    found = "column 'kye' is missing; found 'a', 'b', 'y', 'key': did you mean 'key'?"
    assert list(map(plain, errors)) == [f"gridline: dataset 'd': {tables.folder / 'd.csv'}:1: {found}"]


@dataclass(frozen=True)
class OtherRank(SingleProcess):
    """One of two ranks; the other can't use the datasets at these places."""

    bad: tuple[int, ...] = ()

    def total(self, value: Tensor, what: str) -> Tensor:
        here = value.clone()
        here[list(self.bad)] += 1
        return here


def test_failed_datasets_are_those_that_any_rank_cannot_use(tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    tables.write_good("good", "fine")
    tables.write(**BAD)
    config = JobConfig.model_validate(tables.job("good", "text", "fine"))
    read = read_in_memory(config, tables.folder)
    failed = failed_datasets(config, read, OtherRank(torch.device("cpu"), number=2, bad=(1, 2)))
    assert list(failed) == ["text", "fine"]
    assert "text.csv:2" in failed["text"]
    assert failed["fine"] == "1 of 2 ranks can't use it: see their messages"
    assert len(capsys.readouterr().err.splitlines()) == 2
