"""Predictions for the rows of a file are printed: rows are read as training reads them, and errors name their place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handler.models.stack import Stack
from handler.rows.model_card import Feature, ModelCard
from jobs.errors import DataError
from jobs.prediction.files import predict_document, predict_rows
from jobs.prediction.input import Reading, opened
from jobs.prediction.models import EndpointModels, PredictionOptions, StoredModels
from jobs.prediction.output import target_of
from jobs.prediction.picking import Asked, Pick, pick_for
from jobs.progress import Progress
from jobs.sources.read_options import DEFAULTS
from model_store import open_ledger
from tests.samples.served import CODE, A, B, LocalEndpoint, coded, commit, gridline, groups, model, plain

Patch = pytest.MonkeyPatch
Captured = pytest.CaptureFixture[str]

QUIET = Progress(quiet=True)


def printed(folder: Path, monkeypatch: Patch, capsys: Captured, *arguments: str) -> list[float]:
    """Return the predictions of `--json`, which has the same as the lines."""
    assert gridline(folder, monkeypatch, "--input", *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert gridline(folder, monkeypatch, "--input", *arguments, "--json") == 0
    predictions: list[float] = json.loads(capsys.readouterr().out)["predictions"]
    assert [float(line) for line in lines] == pytest.approx(predictions)
    return predictions


def refusal(folder: Path, monkeypatch: Patch, capsys: Captured, *arguments: str) -> str:
    """Return the line of an error in the input, which is the same with `--output`."""
    assert gridline(folder, monkeypatch, "--input", *arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line.removeprefix("gridline: ")


def test_text_of_categories_stays_text(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": coded()})
    (tmp_path / "rows.csv").write_text("a,code\n1,001\n1,1\n1, 02 \n")
    assert printed(tmp_path, monkeypatch, capsys, "rows.csv") == [1, 6, 21]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_truths_are_one_and_zero(ending: str, tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    if ending == "csv":
        (tmp_path / "rows.csv").write_text("a,b\n1,True\n1,no\n1,\n")
    else:
        pq.write_table(pa.table({"a": [1, 1, 1], "b": [True, False, None]}), tmp_path / "rows.parquet")
    assert printed(tmp_path, monkeypatch, capsys, f"rows.{ending}") == [6, 3, 18]
    assert gridline(tmp_path, monkeypatch, "--set", "a=1", "--set", "b=true") == 0
    assert capsys.readouterr().out == "6\n"


@pytest.mark.parametrize("mark", ["", " ", "NA", "None", "-", "#DIV/0!", "<NA>"])
def test_marks_of_missing_values_are_those_of_training(
    mark: str, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text(f"a,b\n1,{mark}\n1,2\n")
    assert printed(tmp_path, monkeypatch, capsys, "rows.csv") == [18, 9]


def test_truths_among_numbers_are_none(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text("a,b\n1,7\n1,no\n")
    line = refusal(tmp_path, monkeypatch, capsys, "rows.csv")
    assert line.startswith("rows.csv:3: column 'b': 'no' is among numbers: set --na-values if")
    assert printed(tmp_path, monkeypatch, capsys, "rows.csv", "--na-values", "no") == [24, 18]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n\n1,oops\n", "rows.csv:4: column 'b': 'oops' is not a number"),
        ("a,b\n1,2\nNA,2\n", "rows.csv:3: feature 'a' is missing: give a number"),
        ("a,b\n1,2\n1e308,2\n1,inf\n", "rows.csv:4: feature 'b' has value inf, which is infinite"),
        ("a,b,a\n1,2,3\n", "rows.csv:1: column 'a' is there twice: rename one"),
        ("a,B\n1,2\n", "rows.csv: column 'b', a feature, is missing; found ['a', 'B']: did you mean 'B'?"),
        (" A ,b\n1,2\n", "column 'a', a feature, is missing"),
    ],
)
def test_refusals_name_their_place(
    text: str, message: str, tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text(text)
    assert message in refusal(tmp_path, monkeypatch, capsys, "rows.csv")


def test_refusal_far_below_names_the_line(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": coded()})
    (tmp_path / "rows.csv").write_text("a,code\n" + "1,001\n" * 1800 + "1,x\n" + "1,001\n" * 500)
    line = refusal(tmp_path, monkeypatch, capsys, "rows.csv")
    assert line.startswith("rows.csv:1802: feature 'code' has value 'x', which is a level that training did not see")
    pq.write_table(pa.table({"a": [1] * 1801, "code": ["1"] * 1800 + ["x"]}), tmp_path / "rows.parquet")
    assert refusal(tmp_path, monkeypatch, capsys, "rows.parquet").startswith("rows.parquet: row 1801: feature 'code'")


def test_column_that_the_file_lacks_is_filled_where_that_is_allowed(
    tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text("a,B\n1,2\n")
    line = refusal(tmp_path, monkeypatch, capsys, "rows.csv")
    assert "--allow-missing-columns" in line
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--allow-missing-columns") == 0
    out, err = capsys.readouterr()
    assert out == "18\n"
    assert err.splitlines() == [
        "gridline: rows.csv: column 'b' is not there: every row has what replaces a missing value",
        "gridline: rows.csv: names that are no features were ignored: ['B']",
    ]
    (tmp_path / "rows.csv").write_text("b\n2\n")
    line = refusal(tmp_path, monkeypatch, capsys, "rows.csv", "--allow-missing-columns")
    assert "column 'a', a feature, is missing; found ['b']" in line


@pytest.mark.parametrize("output", [(), ("--output", "out.csv")])
def test_type_of_a_column_that_holds_no_numbers_is_refused(
    output: tuple[str, ...], tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"d": plain()})
    pq.write_table(pa.table({"a": [[1]], "b": [1]}), tmp_path / "rows.parquet")
    assert "column 'a' is of type list" in refusal(tmp_path, monkeypatch, capsys, "rows.parquet", *output)


def test_datasets_are_told_by_keys_then_a_column_then_an_option(
    tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, groups("001", "01", "1", by=("store",)))
    for text, expected in (
        ("store,a\n001,1\n1,1\n", [101, 301]),
        ("dataset,a\n001,1\n01,1\n", [101, 201]),
        ("dataset,store,a\n001,1,1\n", [301]),
    ):
        (tmp_path / "rows.csv").write_text(text)
        assert printed(tmp_path, monkeypatch, capsys, "rows.csv") == expected
        assert printed(tmp_path, monkeypatch, capsys, "rows.csv", "--dataset", "01") == [201] * len(expected)
    (tmp_path / "rows.csv").write_text("Store,a\n001,1\n")
    line = refusal(tmp_path, monkeypatch, capsys, "rows.csv")
    assert "has 3 datasets, by the columns ['store']" in line
    assert "no column 'store' (did you mean 'Store'?)" in line
    assert "set --dataset" in line


def test_keys_of_two_sources_are_ambiguous(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, groups("1", by=("store",)) | groups("north", by=("region",)))
    (tmp_path / "rows.csv").write_text("store,region,a\n1,north,1\n")
    assert "groups by ['region'] and by ['store']" in refusal(tmp_path, monkeypatch, capsys, "rows.csv")
    (tmp_path / "rows.csv").write_text("store,region,a,dataset\n1,north,1,north\n")
    assert printed(tmp_path, monkeypatch, capsys, "rows.csv") == [101]


def test_groups_of_sources_with_prefixes_are_told_apart(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    sales, costs = (groups(f"{prefix}001", by=("store",), prefix=prefix) for prefix in ("sales/", "costs/"))
    commit(tmp_path, sales | {name: coded_by_store(stack) for name, stack in costs.items()})
    (tmp_path / "rows.csv").write_text("store,a,code\n001,1,02\n")
    line = refusal(tmp_path, monkeypatch, capsys, "rows.csv")
    assert "by ['store'] after 'costs/' and by ['store'] after 'sales/'" in line
    assert "set --group-prefix, such as 'sales/'" in line
    assert printed(tmp_path, monkeypatch, capsys, "rows.csv", "--group-prefix", "sales/") == [101]
    assert printed(tmp_path, monkeypatch, capsys, "rows.csv", "--group-prefix", "costs/") == [21]
    line = refusal(tmp_path, monkeypatch, capsys, "rows.csv", "--group-prefix", "x")
    assert "no group of collection 't' has the prefix 'x': set --group-prefix to one of ['costs/', 'sales/']" in line


def coded_by_store(like: Stack) -> Stack:
    """Return the model of a category, as that of a group that is named like another."""
    own = coded()
    grouped = {"group_by": like.card.group_by, "group_prefix": like.card.group_prefix}
    return replace(own, card=replace(own.card, **grouped))


def test_feature_that_is_named_dataset_is_a_feature(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    card = ModelCard("y", (A, Feature("dataset", kind="categorical", levels=("u", "v"))))
    commit(tmp_path, {"d": model(card, [1.0, 10.0], 0.0)})
    (tmp_path / "rows.csv").write_text("a,dataset\n1,u\n1,v\n")
    assert printed(tmp_path, monkeypatch, capsys, "rows.csv") == [1, 11]


def test_rows_of_models_with_different_features_share_a_file(
    tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"north": plain(), "east": coded()})
    (tmp_path / "rows.csv").write_text("dataset,a,b,code\nnorth,1,1,\neast,1,oops,02\nnorth,2,1,x\n")
    assert printed(tmp_path, monkeypatch, capsys, "rows.csv") == [6, 21, 8]


def test_files_of_a_folder_are_one_input(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.csv").write_text("a,b\n1,1\n")
    (tmp_path / "in" / "2.csv").write_text("b,a\n1,2\n")
    assert printed(tmp_path, monkeypatch, capsys, "in") == [6, 8]
    (tmp_path / "in" / "3.csv").write_text("a,b,c\n1,1,1\n")
    assert "in/3.csv has columns ['a', 'b', 'c'], and in/1.csv has ['a', 'b']" in refusal(
        tmp_path, monkeypatch, capsys, "in"
    )


@pytest.mark.parametrize("text", ["dataset,a,b,code\nd,1,2,02\nd,oops,2,1\nd,3,,001\nd,4,4,no\nd,5,inf,1\n"])
def test_an_endpoint_and_the_store_give_the_same_rows(text: str, tmp_path: Path, monkeypatch: Patch) -> None:
    card = ModelCard("y", (A, B, CODE))
    commit(tmp_path, {"d": model(card, [1.0, 2.0, 20.0, 5.0], 0.5), "e": coded()})
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(text)
    stored = StoredModels(open_ledger("store").version("t", None))
    endpoint: Any = LocalEndpoint(stored.fleet)
    outputs = []
    for number, models in enumerate((stored, EndpointModels(endpoint, "t", None))):
        with opened("rows.csv", Reading("auto", DEFAULTS)) as rows:
            target, pick = target_of(f"{number}.csv", None, rows), pick_for(models.served, rows.names, Asked())
            written = predict_rows(models, PredictionOptions(interval=0.9), rows, pick, target, progress=QUIET)
        assert written.num_errors == 3
        outputs.append(Path(f"{number}.csv").read_text())
    assert outputs[0].count("\n") == outputs[1].count("\n") == 6
    for ours, theirs in zip(*(text.splitlines() for text in outputs), strict=True):
        assert ours.partition(",feature")[0] == theirs.partition(",feature")[0]


def test_rows_without_an_interval_are_printed_with_the_reason(
    tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    bare = model(ModelCard("y", (A, B)), [2.0, 3.0], 1.0, statistics=False)
    commit(tmp_path, {"d": plain(), "e": bare})
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("dataset,a,b\n" + "d,1,1\n" * 1500 + "e,1,2\n")
    stored = StoredModels(open_ledger("store").version("t", None))
    endpoint: Any = LocalEndpoint(stored.fleet)
    documents, outputs = [], []
    for number, models in enumerate((stored, EndpointModels(endpoint, "t", None))):
        with opened("rows.csv", Reading("auto", DEFAULTS)) as rows:
            target, pick = target_of(f"{number}.csv", None, rows), pick_for(models.served, rows.names, Asked())
            written = predict_rows(models, PredictionOptions(interval=0.9), rows, pick, target, progress=QUIET)
            documents.append(predict_document(models, PredictionOptions(interval=0.9), rows, pick, QUIET))
        outputs.append(Path(f"{number}.csv").read_text())
        assert (written.num_errors, written.exit_code) == (1, 5)
    assert outputs[0] == outputs[1]
    assert documents[0] == documents[1]
    intervals = documents[0]["intervals"]
    assert [row for row in range(1501) if intervals["prediction"][row] is None or intervals["reasons"][row]] == [1500]
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--interval", "0.9") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("9  no interval: dataset 'e' was trained without the statistics of intervals: set training.")


def test_an_endpoint_prints_the_place_of_what_it_refuses(tmp_path: Path, monkeypatch: Patch) -> None:
    commit(tmp_path, {"d": coded()})
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("a,code\n" + "1,1\n" * 1500 + "1,x\n")
    endpoint: Any = LocalEndpoint(StoredModels(open_ledger("store").version("t", None)).fleet)
    with opened("rows.csv", Reading("auto", DEFAULTS)) as rows, pytest.raises(DataError) as caught:
        predict_document(EndpointModels(endpoint, "t", None), PredictionOptions(), rows, Pick("d"), QUIET)
    assert str(caught.value).startswith("rows.csv:1502: feature 'code' has value 'x'")


@pytest.mark.parametrize("level", ["2", "0", "1", "nan"])
def test_interval_that_is_no_level_is_refused(level: str, tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text("a,b\n1,1\n")
    for more in ((), ("--output", "out.csv")):
        line = refusal(tmp_path, monkeypatch, capsys, "rows.csv", "--interval", level, *more)
        assert line == f"--interval {level} is not a level: give one between 0 and 1, such as 0.95"


def test_columns_that_nobody_asks_for_may_be_anything(tmp_path: Path, monkeypatch: Patch, capsys: Captured) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_bytes(b"x,a,x,b,\n1,1,2,1,\n\xe9,2,3,1,\n")
    assert printed(tmp_path, monkeypatch, capsys, "rows.csv") == [6, 8]
    line = refusal(tmp_path, monkeypatch, capsys, "rows.csv", "--output", "out.csv")
    assert line == "rows.csv: column 'x' is there twice: rename one, or set --names"
    named = ("--names", "[u, a, v, b, w]", "--header", "0", "--encoding", "cp1252")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv", *named) == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[2] == "é,2,3,1,,8,d,"


def test_columns_that_are_no_features_are_ignored_and_named_or_refused(
    tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"d": plain()})
    (tmp_path / "rows.csv").write_text("id,a,b,y\n7,1,1,2\n")
    warning = "names that are no features were ignored: ['id', 'y']"
    for chosen in ((), ("--extra", "ignore")):
        assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", *chosen, "--json") == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out)["warnings"] == [warning]
        assert warning in captured.err
    for more in ((), ("--output", "out.csv")):
        assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--extra", "error", *more) == 2
        assert "no features: ['id', 'y']: remove them, or set --extra ignore" in capsys.readouterr().err
    (tmp_path / "rows.csv").write_text("a,dataset,b\n1,d,1\n")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--extra", "error", "--json") == 0
    assert "warnings" not in json.loads(capsys.readouterr().out)


def test_names_of_set_are_refused_unless_they_may_be_ignored(
    tmp_path: Path, monkeypatch: Patch, capsys: Captured
) -> None:
    commit(tmp_path, {"d": plain()})
    settings = ("--set", "a=1", "--set", "b=1", "--set", "id=7")
    for chosen in ((), ("--extra", "error")):
        assert gridline(tmp_path, monkeypatch, *settings, *chosen) == 2
        assert "feature 'id' is not known" in capsys.readouterr().err
    assert gridline(tmp_path, monkeypatch, *settings, "--extra", "ignore", "--json") == 0
    assert json.loads(capsys.readouterr().out)["warnings"]
    assert gridline(tmp_path, monkeypatch, *settings, "--extra", "warn") == 2
    assert "--extra warn is not known: give error or ignore" in capsys.readouterr().err
