"""Rows are written with their predictions: as they were, in their order, each by its own model."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handler.rows.model_card import Feature, ModelCard
from model_store import open_ledger
from tests.samples.fleets import commit_models
from tests.samples.served import A, B, coded, commit, gridline, groups, model, plain

Patch = pytest.MonkeyPatch
Captured = pytest.CaptureFixture[str]


def test_rows_are_written_as_they_were_with_what_is_added(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    text = 'id,a,note,b\r\n007,1, x ,2\r\n"1,5",1.50,"say ""a""",\r\n\r\n"",-0,é,NA\r\n'
    (tmp_path / "rows.csv").write_text(text, newline="")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv") == 0
    assert (tmp_path / "out.csv").read_text() == (
        'id,a,note,b,prediction,dataset,error\n007,1, x ,2,9,d,\n"1,5",1.50,"say ""a""",,19,d,\n,-0,é,NA,16,d,\n'
    )
    assert capsys.readouterr().out == "wrote 3 rows to out.csv\n"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_rows_of_parquet_keep_their_types(tmp_path: Path, monkeypatch: Patch) -> None:
    commit(tmp_path, {"d": plain()})
    table = pa.table(
        {
            "a": pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.00")]),
            "b": pa.array([1, None], pa.int64()),
            "day": [datetime.date(2026, 1, 31), None],
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "flag": [True, False],
            "many": [[1], [2, 3]],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=1)
    assert gridline(tmp_path, monkeypatch, "--input", "rows.parquet", "--output", "out.parquet") == 0
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(table.column_names).equals(table)
    assert found["prediction"].to_pylist() == [2 * 1.5 + 3 + 1, 2 * 2 + 15 + 1]
    assert found["dataset"].to_pylist() == ["d", "d"]
    assert found["error"].to_pylist() == [None, None]


def test_rows_of_parquet_become_text(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    rows = {"a": [decimal.Decimal("1.50")], "b": [None], "day": [datetime.date(2026, 1, 31)], "flag": [True]}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    arguments = ("--input", "rows.parquet", "--output", "-", "--output-format", "tsv")
    assert gridline(tmp_path, monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == (
        "a\tb\tday\tflag\tprediction\tdataset\terror\n1.50\t\t2026-01-31\ttrue\t19\td\t\n"
    )
    pq.write_table(pa.table({"a": [1.0], "b": [1.0], "many": [[1]]}), tmp_path / "nested.parquet")
    assert gridline(tmp_path, monkeypatch, "--input", "nested.parquet", "--output", "out.csv") == 2
    assert "column 'many' is of type list<element: int64>, which text can't hold" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.csv.gz", "out.tsv", "out.TAB", "out.pq"])
def test_rows_are_written_in_the_format_of_the_name(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text("a,b\n001,x;y\n")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", name) == 5
    if name == "out.pq":
        assert pq.read_table(tmp_path / name).select(["a", "b"]).to_pylist() == [{"a": "001", "b": "x;y"}]
        return
    with pa.input_stream(str(tmp_path / name), compression="detect") as stream:
        [row] = csv.DictReader(io.StringIO(stream.read().decode()), delimiter="," if "csv" in name else "\t")
    assert (row["a"], row["b"], row["prediction"]) == ("001", "x;y", "")


def test_rows_pass_through_standard_input_and_output(tmp_path: Path, monkeypatch: Patch, capfdbinary: Any) -> None:
    commit(tmp_path, {"d": plain()})
    given = io.TextIOWrapper(io.BytesIO(b"a,b\n1,1\nx,1\n"))
    monkeypatch.setattr(sys, "stdin", given)
    assert gridline(tmp_path, monkeypatch, "--input", "-", "--format", "csv", "--output", "-") == 5
    out, err = capfdbinary.readouterr()
    assert out == b"a,b,prediction,dataset,error\n1,1,6,d,\nx,1,,d,column 'a': 'x' is not a number\n"
    assert err == b"gridline: 1 of 2 rows have an error; the first: standard input:3: column 'a': 'x' is not a number\n"
    assert gridline(tmp_path, monkeypatch, "--input", "-", "--output", "-") == 2
    assert b"set --format" in capfdbinary.readouterr().err


def test_a_bad_row_has_its_reason_and_the_others_are_answered(
    tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"north": plain(), "east": coded()})
    lines = ["east,1,01,x", "north,oops,001,1", "west,1,001,1", ",1,001,1", "north,,001,1", "north,1e308,001,1e308"]
    (tmp_path / "rows.csv").write_text("\n".join(["dataset,a,code,b", "east,1,02,oops", *lines, "east,2,001,"]) + "\n")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv") == 5
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["prediction"] for row in rows] == ["21", "", "", "", "", "", "", "2"]
    assert [row["error"].partition(":")[0] for row in rows] == [
        "",
        "feature 'code' has value '01', which is a level that training did not see",
        "column 'a'",
        "dataset 'west' is not in version 1 of collection 't', which holds 2, such as 'east'",
        "column 'dataset' is empty",
        "feature 'a' has value nan, which is missing (NaN)",
        "the prediction is beyond float64",
        "",
    ]
    captured = capsys.readouterr()
    assert captured.err.startswith("gridline: 6 of 8 rows have an error; the first: rows.csv:3: feature 'code'")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "new.csv", "--strict") == 2
    assert capsys.readouterr().err.startswith("gridline: rows.csv:3: feature 'code' has value '01'")
    assert not (tmp_path / "new.csv").exists()


def test_thousands_of_different_bad_values_are_each_named(tmp_path: Path, monkeypatch: Patch) -> None:
    card = ModelCard("y", (Feature("a", transform="log10"), B))
    commit(tmp_path, {"d": model(card, [1.0, 0.0], 0.0)})
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{at if at % 3 else -at - 1},1\n" for at in range(20_000)))
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv") == 5
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert all((row["error"] != "") == (row["prediction"] == "") == (float(row["a"]) <= 0) for row in rows)
    assert "has value -19999.0, which is outside" in rows[19_998]["error"]


def test_intervals_are_four_columns(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    bare = model(ModelCard("y", (A, B)), [2.0, 3.0], 1.0, statistics=False)
    commit(tmp_path, {"d": plain(), "e": bare})
    (tmp_path / "rows.csv").write_text("dataset,a,b\nd,1,2\ne,1,2\n")
    arguments = ("--input", "rows.csv", "--interval", "0.95")
    assert gridline(tmp_path, monkeypatch, *arguments, "--output", "out.csv") == 5
    good, bad = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (
        gridline(tmp_path, monkeypatch, "--dataset", "d", "--set", "a=1", "--set", "b=2", *arguments[2:], "--json") == 0
    )
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [float(good["conf_low"]), float(good["conf_high"])] == answer["intervals"]["confidence"][0]
    assert [float(good["pred_low"]), float(good["pred_high"])] == answer["intervals"]["prediction"][0]
    assert (bad["prediction"], bad["pred_low"], bad["conf_high"]) == ("9", "", "")
    assert bad["error"].startswith("dataset 'e' was trained without the statistics of intervals")


def test_a_name_that_is_taken_is_refused_and_a_prefix_helps(
    tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text("a,b,error\n1,1,z\n")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv") == 2
    assert (
        "rows.csv has a column 'error', the name of a column that is added: set --column-prefix"
        in capsys.readouterr().err
    )
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv", "--column-prefix", "new_") == 0
    assert (tmp_path / "out.csv").read_text() == "a,b,error,new_prediction,new_dataset,new_error\n1,1,z,6,d,\n"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_no_rows_give_a_header(ending: str, tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    if ending == "csv":
        (tmp_path / "rows.csv").write_text("a,b,id\n")
    else:
        table = pa.table(
            {"a": pa.array([], pa.float64()), "b": pa.array([], pa.int8()), "id": pa.array([], pa.date32())}
        )
        pq.write_table(table, tmp_path / "rows.parquet")
    assert gridline(tmp_path, monkeypatch, "--input", f"rows.{ending}", "--output", f"out.{ending}") == 0
    if ending == "csv":
        assert (tmp_path / "out.csv").read_text() == "a,b,id,prediction,dataset,error\n"
    else:
        assert pq.read_schema(tmp_path / "out.parquet").names == ["a", "b", "id", "prediction", "dataset", "error"]
        assert pq.read_schema(tmp_path / "out.parquet").field("id").type == pa.date32()
    assert gridline(tmp_path, monkeypatch, "--input", f"rows.{ending}", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["predictions"] == []
    assert f"gridline: rows.{ending}: the file has no rows" in err


def test_output_that_can_not_be_written_is_one_line(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text("a,b\n1,1\n")
    for output, code, message in (
        ("none/out.csv", 4, "--output none/out.csv can't be written: No such file or directory"),
        ("rows.csv", 2, "--output rows.csv is the input: write another file"),
        ("out.doc", 2, "--output out.doc: the name does not tell the format"),
    ):
        assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", output) == code
        assert message in capsys.readouterr().err
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "o.csv", "--extrapolation") == 2
    assert gridline(tmp_path, monkeypatch, "--set", "a=1", "--output", "o.csv") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "store"]


def test_groups_are_picked_by_their_columns(tmp_path: Path, monkeypatch: Patch) -> None:
    commit(tmp_path, groups('"a,b",001', "a,1", by=("store", "region")))
    (tmp_path / "rows.csv").write_text('a,region,x,store\n1,001,,"a,b"\n2,1,,a\n3,01,,a\n4,,,a\n')
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv") == 5
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["prediction"] for row in rows] == ["101", "202", "", ""]
    assert [row["dataset"] for row in rows] == ['"a,b",001', "a,1", "a,01", ""]
    assert rows[2]["error"].startswith("dataset 'a,01' is not in version 1")
    assert rows[3]["error"] == "column 'region' is empty: it names the model of the row"


def test_summary_is_a_document_with_json(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text("a,b\n1,1\n,1\n")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv", "--json") == 5
    document = json.loads(capsys.readouterr().out)
    assert document.pop("error").startswith("rows.csv:3: feature 'a' has value nan")
    assert document == {"output": "out.csv", "num_rows": 2, "num_errors": 1}


def test_a_version_of_a_store_is_asked_by_its_number(tmp_path: Path, monkeypatch: Patch) -> None:
    commit(tmp_path, {"d": plain()})
    commit_models(open_ledger(str(tmp_path / "store")), "t", {"d": model(ModelCard("y", (A, B)), [0.0, 0.0], 7.0)})
    (tmp_path / "rows.csv").write_text("a,b\n1,1\n")
    for version, prediction in (("1", "6"), ("2", "7")):
        arguments = ("--input", "rows.csv", "--output", "out.csv", "--version", version)
        assert gridline(tmp_path, monkeypatch, *arguments) == 0
        assert (tmp_path / "out.csv").read_text().splitlines()[1] == f"1,1,{prediction},d,"


def test_nothing_is_written_where_the_first_rows_are_refused(
    tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"d": plain()})
    for text in ("a,B\n1,1\n", "a,b\nx,1\n"):
        (tmp_path / "rows.csv").write_text(text)
        assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "-", "--strict") == 2
        assert capsys.readouterr().out == ""


def test_text_is_written_with_the_characters_of_the_input(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text("a;b;note\n1,5;2;x,y\n")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--decimal", ",", "--output", "-") == 0
    assert capsys.readouterr().out == "a;b;note;prediction;dataset;error\n1,5;2;x,y;10;d;\n"
    (tmp_path / "rows.csv").write_text("a;b;note\n1,25;2;x,y\n")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--decimal", ",", "--output", "out.tsv") == 0
    assert (tmp_path / "out.tsv").read_text() == "a\tb\tnote\tprediction\tdataset\terror\n1,25\t2\tx,y\t9,5\td\t\n"
