from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handler.answers.answering import answer
from handler.errors import ArchiveFormatError
from handler.models.fleet import Fleet
from handler.models.fleet_files import INDEX, read, write
from handler.requests.payload import Request
from model_store.archives.version_fleet import fleet_of_version
from model_store.ledger.ledger import Ledger
from tests.servers.torchserve import COLLECTION

REQUEST = Request(b'{"instances": [{"dataset": "north", "area": 3}, {"dataset": "east", "area": 1, "color": "red"}]}')


def test_a_fleet_answers_the_same_after_writing_and_reading(stores_fleet: Fleet, tmp_path: Path) -> None:
    write(stores_fleet, tmp_path)
    again = read(tmp_path)
    assert answer(again, [REQUEST]) == answer(stores_fleet, [REQUEST])
    assert (again.collection, again.version, again.num_datasets) == ("stores", 1, 4)
    assert again.facts.row(again.position("north")) == stores_fleet.facts.row(stores_fleet.position("north"))


def test_equal_fleets_give_equal_bytes(stores_ledger: Ledger, tmp_path: Path) -> None:
    written = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        names = write(fleet_of_version(stores_ledger.version(COLLECTION)), folder)
        written.append({name: (folder / name).read_bytes() for name in names})
    assert written[0] == written[1]


def test_reading_maps_the_weights_instead_of_copying_them(tmp_path: Path, stores_fleet: Fleet) -> None:
    write(stores_fleet, tmp_path)
    fleet = read(tmp_path)
    address = fleet.stacks[0].weight_md.__array_interface__["data"][0]
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    [file] = [
        fields[-1]
        for fields in mapped
        if int(fields[0].split("-")[0], 16) <= address < int(fields[0].split("-")[1], 16)
    ]
    assert file == str(tmp_path / "stack-0.safetensors")


@pytest.mark.parametrize("name", [INDEX, "facts.safetensors", "stack-1.safetensors"])
def test_reading_names_a_missing_file(stores_fleet: Fleet, tmp_path: Path, name: str) -> None:
    write(stores_fleet, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ArchiveFormatError, match="is not complete"):
        read(tmp_path)


def test_reading_refuses_a_truncated_file(stores_fleet: Fleet, tmp_path: Path) -> None:
    write(stores_fleet, tmp_path)
    path = tmp_path / "stack-0.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArchiveFormatError, match="is not complete"):
        read(tmp_path)


def test_reading_refuses_a_newer_format(stores_fleet: Fleet, tmp_path: Path) -> None:
    write(stores_fleet, tmp_path)
    path = tmp_path / INDEX
    data = path.read_bytes().replace(b'\\"format\\": 1', b'\\"format\\": 9')
    path.write_bytes(data)
    with pytest.raises(ArchiveFormatError, match="format 9"):
        read(tmp_path)


def test_facts_leave_out_what_is_not_known(stores_fleet: Fleet) -> None:
    facts = stores_fleet.facts.row(0)
    assert facts["r2"] == 0.9
    assert "val_mse" not in facts
    assert "engine" not in facts
    json.dumps(facts)


def test_positions_are_those_of_the_names(stores_fleet: Fleet) -> None:
    assert [stores_fleet.position(name) for name in ("bare", "east", "north", "south")] == [0, 1, 2, 3]
    assert stores_fleet.stack_n.dtype == np.int32
