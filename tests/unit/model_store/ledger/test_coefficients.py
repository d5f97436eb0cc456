"""The coefficients of a champion, read without torch: those of its model, or the same error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from model_store import open_ledger
from model_store.archives.version_fleet import fleet_of_version
from model_store.errors import CorruptObjectError, UnknownDatasetError
from model_store.ledger.champion_table import rows_to_table
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Draft
from model_store.objects.blobs import BlobRef
from tests.samples.models import commit, store_rows


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = open_ledger(str(tmp_path / "store"))
    commit(ledger, "c", {"a": 1.0, "b": 2.5})
    return ledger


def test_coefficients_are_those_of_the_model(ledger: Ledger) -> None:
    for dataset in ("a", "b"):
        version = ledger.version("c")
        champion, row = ledger.champion("c", dataset), version.find(dataset)
        (stack,) = fleet_of_version(version, [dataset]).stacks
        assert stack.bias_m is not None
        assert champion.coefficients == {"intercept": stack.bias_m.item(), "area": stack.weight_md.item()}
        assert (champion.row, champion.card, champion.version.number) == (row, stack.card, 1)


def test_coefficients_of_an_unknown_dataset_are_refused(ledger: Ledger) -> None:
    with pytest.raises(UnknownDatasetError):
        ledger.champion("c", "nowhere")


def test_coefficients_of_a_damaged_checkpoint_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    row = ledger.champion("c", "a").row
    path = tmp_path / "store" / "blobs" / f"{row['checkpoint']}.safetensors"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(CorruptObjectError, match=row["checkpoint"]):
        ledger.champion("c", "a")


@pytest.mark.parametrize("change", [{"row": 2}, {"row": -1}])
def test_coefficients_of_a_row_that_is_not_there_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    ledger = open_ledger(str(tmp_path / "store"))
    rows = [store_rows(ledger, {"a": 1.0, "b": 2.0})[0] | change]
    ledger.transact("c", lambda head: Draft(rows_to_table(rows), "run", "train", ""))
    with pytest.raises(CorruptObjectError, match="'a' is its row"):
        ledger.champion("c", "a")


def test_coefficients_of_what_is_no_checkpoint_are_refused(tmp_path: Path) -> None:
    ledger = open_ledger(str(tmp_path / "store"))
    blob: BlobRef = ledger.put_blob(b"nothing of the kind", "safetensors")
    row = store_rows(ledger, {"a": 1.0})[0] | {"checkpoint": blob.sha256, "checkpoint_size": blob.size_bytes}
    ledger.transact("c", lambda head: Draft(rows_to_table([row]), "run", "train", ""))
    with pytest.raises(CorruptObjectError, match="not a safetensors file"):
        ledger.champion("c", "a")


def test_show_does_not_import_torch(ledger: Ledger, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom jobs.cli import main\ntry:\n    main(sys.argv[1:])\n"
        "except SystemExit as exc:\n    assert not exc.code\nassert 'torch' not in sys.modules"
    )
    verb = ["models", "show", "c", "a", "--store", str(tmp_path / "store"), "--json"]
    done = subprocess.run([sys.executable, "-c", program, *verb], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"coefficients": {"intercept": 1.0, "area": 0.0}' in done.stdout
