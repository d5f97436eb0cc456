"""Exports of collections: several cards, many datasets, hostile names, equal bytes, and what a format can't hold."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

from handler.models.fleet import Fleet
from handler.models.stack import Stack, StackOf
from handler.models.text_table import NameIndex
from handler.rows.model_card import Feature, ModelCard
from model_store import open_ledger
from model_store.errors import ExportFolderError, ExportFormatError, StoreRefusedError
from model_store.exports.exporting import Format, export
from model_store.exports.onnx_file import MOST_CARDS, input_names, write_onnx
from tests.samples.cards import CARDS, Row, model_of, rows_of
from tests.samples.exported import assert_same, by_numpy, by_onnx, by_torch, committed, expected
from tests.samples.fleets import sample_stores
from tests.servers.command_line import run

FORMATS: tuple[Format, ...] = ("safetensors", "onnx", "torch")
READERS = {"safetensors": by_numpy, "onnx": by_onnx, "torch": by_torch}
HOSTILE = ("../up", "a/b", "C:\\x", 'quo"te', "größe\n", " ", "--version", "$(x)", "null")


def mixed() -> dict[str, Stack]:
    """Return datasets of several cards with the same kinds of features, some with the same rules for rows."""
    cards = {name: CARDS[name] for name in ("plain", "levels", "without bias", "powers", "target log1p", "groups")}
    models = {name: model_of(card, at) for at, (name, card) in enumerate(cards.items())}
    return models | {f"again {seed}": model_of(replace(CARDS["plain"], target=f"y{seed}"), seed) for seed in (8, 9)}


def fleet_of(card: ModelCard, num_datasets: int) -> Fleet:
    """Return a fleet whose model i predicts i + a."""
    bias_m = np.arange(num_datasets, dtype=np.float64)
    stack = StackOf(card, np.ones((num_datasets, card.num_columns)), bias_m)
    index = NameIndex.of([f"d{at:05d}" for at in range(num_datasets)])
    return Fleet("t", 1, index, np.zeros(num_datasets, np.int32), np.arange(num_datasets, dtype=np.int32), (stack,))


@pytest.mark.parametrize("form", FORMATS)
def test_exports_of_a_collection_predict_for_each_dataset(form: Format, tmp_path: Path) -> None:
    models = mixed()
    version = committed(tmp_path, models)
    export(version, None, tmp_path / "out", form)
    predict = READERS[form](tmp_path / "out")
    for dataset, stack in models.items():
        rows = rows_of(stack.card, 4)
        assert_same(predict(dataset, rows), expected(version, dataset, rows), rows)


def session_of(folder: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(folder / "model.onnx")


def test_onnx_answers_rows_of_different_datasets_at_once(tmp_path: Path) -> None:
    [path] = write_onnx(fleet_of(ModelCard("y", (Feature("a"),)), 10_000), tmp_path, by_dataset=True)
    onnx.checker.check_model(path, full_check=True)
    datasets = np.array(["d00003", "d09999", "", "d10000", "D00003", "d00000"], object)
    [found] = session_of(tmp_path).run(None, {"dataset": datasets, "a": np.full(6, 0.5)})
    assert found.tolist() == pytest.approx([3.5, 9999.5, np.nan, np.nan, np.nan, 0.5], rel=0, nan_ok=True)


def test_programs_answer_no_rows(tmp_path: Path) -> None:
    version = committed(tmp_path, {"d": model_of(CARDS["levels"])})
    export(version, None, tmp_path / "onnx", "onnx")
    export(version, None, tmp_path / "torch", "torch")
    assert by_onnx(tmp_path / "onnx")("d", []) == []
    numbers, codes = torch.zeros(0, 1, dtype=torch.float64), torch.zeros(0, 2, dtype=torch.int64)
    program = torch.export.load(tmp_path / "torch" / "stack-0.pt2").module()
    assert program(numbers, codes, torch.zeros(0, dtype=torch.int64)).shape == (0,)


def test_torch_has_no_prediction_for_a_row_or_a_code_that_is_not_there(tmp_path: Path) -> None:
    version = committed(tmp_path, {"d": model_of(CARDS["levels"])})
    export(version, None, tmp_path / "out", "torch")
    program = torch.export.load(tmp_path / "out" / "stack-0.pt2").module()
    codes = torch.tensor([[0, 0], [0, 0], [0, 0], [3, 0], [-3, 0], [0, -1], [-1, 0]])
    found = program(torch.ones(7, 1, dtype=torch.float64), codes, torch.tensor([0, -1, 1, 0, 0, 0, 0]))
    assert torch.isfinite(found).tolist() == [True, False, False, False, False, True, False]


@pytest.mark.parametrize("form", FORMATS)
def test_exports_of_hostile_names_stay_in_their_folder(form: Format, tmp_path: Path) -> None:
    models = {name: model_of(CARDS["hostile names"], at) for at, name in enumerate(HOSTILE)}
    version, rows = committed(tmp_path, models), rows_of(CARDS["hostile names"], 2)
    files = export(version, None, tmp_path / "out", form)
    assert {file.parent for file in files} == {tmp_path / "out"}
    assert {path.name for path in tmp_path.iterdir()} == {"store", "out"}
    predict = READERS[form](tmp_path / "out")
    for dataset in HOSTILE:
        assert_same(predict(dataset, rows), expected(version, dataset, rows), rows)


@pytest.mark.parametrize("form", FORMATS)
def test_exports_of_equal_models_have_equal_bytes(form: Format, tmp_path: Path) -> None:
    version = committed(tmp_path, {name: model_of(CARDS[name]) for name in ("plain", "products of dates")})
    first, second = (export(version, None, tmp_path / out, form) for out in ("first", "second"))
    assert [file.name for file in first] == [file.name for file in second]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert not [file.name for file in first if str(Path(__file__).parents[4]).encode() in unpacked(file)]


def unpacked(file: Path) -> bytes:
    """Return the bytes of a file, or those of all entries of an archive."""
    if not zipfile.is_zipfile(file):
        return file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        return b"".join(map(archive.read, archive.namelist()))


def test_exports_have_what_training_stored(tmp_path: Path) -> None:
    version = committed(tmp_path, sample_stores())
    export(version, None, tmp_path / "out")
    index = json.loads((tmp_path / "out" / "index.json").read_text("utf-8"))
    assert list(index) == ["bare", "east", "north", "south"]
    assert index["north"]["champion"]["score"] == 0.1
    stored = load_file(tmp_path / "out" / index["north"]["files"][1])
    row = index["north"]["row"]
    statistics = sample_stores()["north"].statistics
    assert statistics is not None
    assert set(stored) == set(statistics.named())
    for name, tensor in statistics.named().items():
        np.testing.assert_array_equal(stored[name][row], tensor[0].numpy())
    rows: list[Row] = [{"area": 2.0}]
    assert_same(by_numpy(tmp_path / "out")("bare", rows), expected(version, "bare", rows), rows)


def test_numpy_reader_needs_no_gridline(tmp_path: Path) -> None:
    export(committed(tmp_path, sample_stores()), "north", tmp_path / "out")
    command = [sys.executable, "-I", "predict.py", "north", '{"area": 2.0, "depth": null}']
    printed = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True, check=True).stdout
    [wanted] = expected(open_ledger(str(tmp_path / "store")).version("t"), "north", [{"area": 2.0, "depth": None}])
    assert float(printed) == pytest.approx(wanted, rel=1e-12)


def test_onnx_refuses_a_feature_of_two_kinds_with_what_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_text = ModelCard("y", (Feature("a", kind="categorical", levels=("x", "z")),))
    committed(tmp_path, {"one": model_of(CARDS["one column"]), "two": model_of(as_text)})
    command = ("models", "export", "t", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--format")
    answer = run(capsys, *command, "onnx")
    assert answer.code == 2
    assert answer.line == (
        "gridline: feature 'a' is categorical in some datasets of 't' and numeric in others, and an input of an ONNX "
        "graph has one type: export one dataset, such as: gridline models export t one --format onnx, or all of them "
        "with another --format"
    )
    assert not (tmp_path / "out").exists()
    assert run(capsys, *command, "onnx", "one", "--json").document == {
        "collection": "t",
        "dataset": "one",
        "out": str(tmp_path / "out"),
        "format": "onnx",
        "files": ["model.onnx"],
    }


def test_onnx_refuses_more_rules_than_a_graph_can_have(tmp_path: Path) -> None:
    cards = [ModelCard("y", (Feature("a", kind="categorical", levels=(str(at),)),)) for at in range(MOST_CARDS + 1)]
    stacks = tuple(fleet_of(card, 1).stacks[0] for card in cards)
    number_n = np.arange(len(stacks), dtype=np.int32)
    fleet = replace(fleet_of(cards[0], len(stacks)), stacks=stacks, stack_n=number_n, row_n=np.zeros_like(number_n))
    with pytest.raises(ExportFormatError, match="have 1001 different rules for their rows, and one graph has at most"):
        write_onnx(fleet, tmp_path / "out", by_dataset=True)


def test_onnx_refuses_what_no_file_can_hold(tmp_path: Path) -> None:
    card = ModelCard("y", tuple(Feature(f"x{at}") for at in range(100)))
    fleet = fleet_of(card, 1)
    wide = np.broadcast_to(np.float64(1.0), (2_000_000, 100))  # takes no memory
    fleet = replace(fleet, stacks=(replace(fleet.stacks[0], weight_md=wide),))
    with pytest.raises(ExportFormatError, match=r"would have 4\.5 GiB, and an ONNX file has at most 2: export one"):
        write_onnx(fleet, tmp_path / "out", by_dataset=True)


def test_onnx_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = committed(tmp_path, {"d": model_of(CARDS["plain"])})
    for name in [name for name in sys.modules if name.startswith("model_store.exports.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportFormatError, match=r"pip install 'gridline\[onnx\]', or choose another --format"):
        export(version, None, tmp_path / "out", "onnx")


def test_inputs_have_the_names_of_features_unless_the_graph_needs_them() -> None:
    features = ["a", "dataset", "dataset_", "", "prediction"]
    assert input_names(features, ["dataset", "prediction"]) == {
        "a": "a",
        "dataset_": "dataset_",
        "dataset": "dataset__",
        "": "_",
        "prediction": "prediction_",
    }
    assert input_names(features, ["prediction"])["dataset"] == "dataset"


@pytest.mark.parametrize("form", FORMATS)
def test_exports_overwrite_nothing(form: Format, tmp_path: Path) -> None:
    version = committed(tmp_path, {"d": model_of(CARDS["one column"])})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ExportFolderError, match="is not empty"):
        export(version, None, tmp_path / "out", form)
    with pytest.raises(StoreRefusedError, match="Not a directory"):
        export(version, None, tmp_path / "out" / "mine" / "deeper", form)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
