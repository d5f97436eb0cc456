"""Kinds of files to predict: what trained is predicted, from the same files in the same words."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from tests.samples.people import (
    NUMBERS,
    PLAIN,
    ROWS,
    Desk,
    parquet,
    text_of,
    with_column,
)


def test_what_trained_is_predicted_from_the_very_file(desk: Desk) -> None:
    decimals = pa.array([Decimal(row[0]) for row in ROWS], pa.decimal128(9, 2))
    intercept, a, b = desk.best(parquet(desk, a=decimals))["coefficients"].values()
    predictions = desk.predictions("--input", str(desk.folder / "data.parquet"))
    assert predictions == pytest.approx((intercept + NUMBERS[:, :2] @ [a, b]).tolist())


def test_a_file_with_semicolons_is_predicted_as_it_trained(desk: Desk) -> None:
    desk.write("data.csv", text_of(ROWS, ";"))
    intercept, a, b = desk.best({"delimiter": ";"})["coefficients"].values()
    predictions = desk.predictions("--input", str(desk.folder / "data.csv"))
    assert predictions == pytest.approx((intercept + NUMBERS[:, :2] @ [a, b]).tolist())


@pytest.mark.parametrize(
    ("yes", "no"), [("true", "false"), ("TRUE", "FALSE"), ("True", "False"), ("yes", "no"), ("1", "0")]
)
def test_booleans_are_numbers_in_training_files_and_values(desk: Desk, yes: str, no: str) -> None:
    desk.write("data.csv", text_of(with_column(lambda at: yes if at % 3 else no), header="a,b,y,flag"))
    best = desk.best({"features": ["a", "flag"]})
    intercept, a, flag = best["coefficients"].values()
    desk.write("rows.csv", f"a,flag\n1.0,{yes}\n1.0,{no}\n")
    expected = [intercept + a + flag, intercept + a]
    assert desk.predictions("--input", str(desk.folder / "rows.csv")) == pytest.approx(expected)
    assert desk.predictions("--set", "a=1.0", "--set", f"flag={yes}") == pytest.approx(expected[:1])


@pytest.mark.parametrize("levels", [("001", "02", "1"), ("1.10", "1.1", "2.0"), ("1e3", "1000", "true")])
def test_text_stays_text_in_prediction(desk: Desk, levels: tuple[str, ...]) -> None:
    rows = [[*row[:2], f"{float(row[2]) + 9 * (at % 3):.3f}", levels[at % 3]] for at, row in enumerate(ROWS)]
    desk.write("data.csv", text_of(rows, header="a,b,y,code"))
    desk.best({"features": ["a", {"name": "code", "kind": "categorical"}]})
    desk.write("rows.csv", "a,code\n" + "".join(f"1.0,{level}\n" for level in levels))
    found = desk.predictions("--input", str(desk.folder / "rows.csv"))
    each = [desk.predictions("--set", "a=1.0", "--set", f"code={level}") for level in levels]
    assert found == pytest.approx([one for [one] in each])
    assert len(set(np.round(found, 3))) == 3


def test_each_row_is_predicted_by_the_model_of_its_group(desk: Desk) -> None:
    stores = ("001", "01", "1")
    rows = [[stores[at % 3], str(at), str(at + 11 * (at % 3) + at % 2 / 9)] for at in range(24)]
    desk.write("data.csv", text_of(rows, header="store,a,y"))
    assert desk.train({"features": ["a"], "group_by": ["store"]}).code == 0
    desk.write("rows.csv", "store,a\n001,1\n01,1\n1,1\n")
    found = desk.predictions("--input", str(desk.folder / "rows.csv"))
    assert found == pytest.approx([1, 12, 23], abs=0.2)


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ("a,a,b\n1,1,2\n", "'a'"),
        ("a,B\n1,2\n", "'b'"),
        ("a,b\n" + "1,2\n" * 1800 + "1,oops\n", "rows.csv:1802: column 'b'"),
    ],
    ids=["twice", "another case", "far down"],
)
def test_a_bad_file_of_rows_is_one_line_that_names_the_place(desk: Desk, rows: str, word: str) -> None:
    desk.write("data.csv", PLAIN)
    desk.best({"features": ["a", {"name": "b", "missing": "mean"}]})
    desk.write("rows.csv", rows)
    answer = desk.predict("--input", str(desk.folder / "rows.csv"))
    assert answer.code == 2
    assert word in answer.line


def test_no_rows_to_predict_are_no_predictions_or_one_line(desk: Desk) -> None:
    desk.write("data.csv", PLAIN)
    desk.best()
    desk.write("rows.csv", "a,b\n")
    answer = desk.predict("--input", str(desk.folder / "rows.csv"))
    assert (answer.code == 2 and "rows.csv" in answer.line) or answer.document["predictions"] == []
