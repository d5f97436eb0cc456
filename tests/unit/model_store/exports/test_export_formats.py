"""Each format of exports predicts as `gridline predict` does, and refuses what it refuses, for every kind of card."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.exports.exporting import export
from tests.samples.cards import CARDS, model_of, rows_of
from tests.samples.exported import assert_same, by_numpy, by_onnx, by_torch, committed, expected

BY_TORCH = (  # each export takes a second: the cards that have all kinds of columns
    *("transforms", "missing and rare levels", "parts of dates", "unseen parts", "circles", "products of levels"),
    *("products of dates", "target log1p", "hostile names", "one column"),
)


@pytest.mark.parametrize("name", CARDS)
def test_numpy_predicts_as_gridline_does(name: str, tmp_path: Path) -> None:
    version, rows = committed(tmp_path, {"d": model_of(CARDS[name])}), rows_of(CARDS[name])
    export(version, None, tmp_path / "out")
    assert_same(by_numpy(tmp_path / "out")("d", rows), expected(version, "d", rows), rows)


@pytest.mark.parametrize("name", CARDS)
def test_onnx_predicts_as_gridline_does(name: str, tmp_path: Path) -> None:
    version, rows = committed(tmp_path, {"d": model_of(CARDS[name])}), rows_of(CARDS[name])
    export(version, "d", tmp_path / "out", "onnx")
    assert_same(by_onnx(tmp_path / "out", names_dataset=False)("d", rows), expected(version, "d", rows), rows)


@pytest.mark.parametrize("name", BY_TORCH)
def test_torch_predicts_as_gridline_does(name: str, tmp_path: Path) -> None:
    version, rows = committed(tmp_path, {"d": model_of(CARDS[name])}), rows_of(CARDS[name])
    export(version, None, tmp_path / "out", "torch")
    assert_same(by_torch(tmp_path / "out")("d", rows), expected(version, "d", rows), rows)
