from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from handler.answers.answering import answer
from handler.models.stack import Stack
from handler.requests.payload import Request
from model_store import open_ledger
from model_store.archives.version_fleet import fleet_of_version
from model_store.errors import CorruptObjectError, UnknownDatasetError
from model_store.ledger.champion_table import rows_to_table
from model_store.ledger.checkpoints import write_checkpoint
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Draft
from tests.samples.fleets import DEEP, commit_models, fitted, sample_stores
from tests.servers.torchserve import COLLECTION


def test_gather_groups_models_by_card_and_keeps_each_its_own(stores_ledger: Ledger) -> None:
    fleet = fleet_of_version(stores_ledger.version(COLLECTION))
    assert len(fleet.stacks) == 3
    for name, stack in sample_stores().items():
        place = fleet.place(fleet.position(name))
        assert fleet.stacks[place.stack].card == stack.card
        assert fleet.stacks[place.stack].weight_md[place.row].tolist() == stack.weight_md[0].tolist()


def test_gather_of_one_dataset_answers_as_the_whole_does(stores_ledger: Ledger) -> None:
    request = Request(b'{"dataset": "south", "instances": [[3, 1]], "interval": 0.9}')
    version = stores_ledger.version(COLLECTION)
    assert answer(fleet_of_version(version, ["south"]), [request]) == answer(fleet_of_version(version), [request])


def test_gather_takes_rows_of_a_shared_checkpoint(tmp_path: Path) -> None:
    ledger = open_ledger(str(tmp_path))
    weight_md = torch.arange(6, dtype=torch.float64).reshape(3, 2)
    stack = Stack(DEEP, weight_md, torch.zeros(3, dtype=torch.float64))
    blob = ledger.put_blob(write_checkpoint(stack), "safetensors")
    rows = [
        {"dataset": name, "checkpoint": blob.sha256, "checkpoint_size": blob.size_bytes, "row": row}
        for name, row in (("a", 2), ("b", 0))
    ]
    version = ledger.transact("shared", lambda head: Draft(rows_to_table(rows)))
    assert version is not None
    [joined] = fleet_of_version(version).stacks
    assert joined.weight_md.tolist() == [[4, 5], [0, 1]]
    assert joined.statistics is None


def test_gather_marks_the_statistics_that_only_some_models_have(tmp_path: Path) -> None:
    ledger = open_ledger(str(tmp_path))
    with_statistics = fitted(DEEP, 1)
    version = commit_models(
        ledger,
        "mixed",
        {"a": with_statistics, "b": Stack(DEEP, with_statistics.weight_md, with_statistics.bias_m)},
    )
    fleet = fleet_of_version(version)
    asked = b'{"dataset": "%s", "instances": [[3, 1]], "interval": 0.9}'
    assert answer(fleet, [Request(asked % b"a")])[0].status == 200
    without = answer(fleet, [Request(asked % b"b")])[0]
    assert (without.status, b"without the statistics" in without.body) == (200, True)
    plain = answer(fleet, [Request(b'{"dataset": "b", "instances": [[3, 1]]}')])[0]
    assert (plain.status, plain.num_extrapolations) == (200, 0)


def test_gather_refuses_a_row_that_the_checkpoint_does_not_have(tmp_path: Path) -> None:
    ledger = open_ledger(str(tmp_path))
    blob = ledger.put_blob(write_checkpoint(fitted(DEEP, 1)), "safetensors")
    row = {"dataset": "a", "checkpoint": blob.sha256, "checkpoint_size": blob.size_bytes, "row": 1}
    version = ledger.transact("wrong", lambda head: Draft(rows_to_table([row])))
    assert version is not None
    with pytest.raises(CorruptObjectError, match="row 1 was asked of it, and it has 1"):
        fleet_of_version(version)


def test_gather_of_an_unknown_dataset_is_refused(stores_ledger: Ledger) -> None:
    with pytest.raises(UnknownDatasetError, match="'west'"):
        fleet_of_version(stores_ledger.version(COLLECTION), ["west"])


def test_gather_counts_rows_in_int32(stores_ledger: Ledger) -> None:
    fleet = fleet_of_version(stores_ledger.version(COLLECTION))
    assert fleet.row_n.dtype == fleet.stack_n.dtype == np.int32
