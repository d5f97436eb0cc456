"""What trained can be predicted: each way of writing a table is read with the same options, and gives the same rows."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handler.rows.model_card import Feature, ModelCard
from jobs.config import DatasetConfig
from jobs.sources.dataset import read_dataset
from jobs.sources.job_datasets import resolve_source
from model_store.objects.s3_settings import S3Settings
from tests.samples.fleets import fitted
from tests.samples.served import A, commit, gridline, model

CODE = Feature("é code", kind="categorical", levels=("01", "1", "NA"))
WEIGHTS = {"01": 0.0, "1": 100.0, "NA": 200.0}
ROWS = [("01", 1.5), ("1", 1234.25), ("NA", 2.0), ("01", -3.0), ("1", 0.5), ("NA", 7.0), ("01", 8.0), ("1", 9.0)]
PLAIN = "é code,a,y\n" + "".join(f"{code},{a},{a}\n" for code, a in ROWS)
COMMAS = str.maketrans(",.", ".,")
GERMAN = "é code;a;y\n" + "".join(f"{code};{a:,.2f};{a:,.2f}\n".translate(COMMAS) for code, a in ROWS)
GERMAN_OPTIONS: dict[str, object] = {"decimal": ",", "thousands": ".", "encoding": "cp1252"}
TABLE = pa.table({"é code": [code for code, _ in ROWS], "a": [a for _, a in ROWS], "y": [a for _, a in ROWS]})
NO_HEADER = PLAIN.partition("\n")[2]

WAYS: dict[str, tuple[str, Callable[[Path], object], dict[str, object]]] = {
    "plain": ("t.csv", lambda path: path.write_text(PLAIN), {}),
    "tabs": ("t.tsv", lambda path: path.write_text(PLAIN.replace(",", "\t")), {}),
    "gzip": ("t.csv.gz", lambda path: path.write_bytes(gzip.compress(PLAIN.encode())), {}),
    "bz2": ("t.csv.bz2", lambda path: path.write_bytes(bz2.compress(PLAIN.encode())), {}),
    "xz": ("t.csv.xz", lambda path: path.write_bytes(lzma.compress(PLAIN.encode())), {}),
    "semicolon": ("t.csv", lambda path: path.write_text(PLAIN.replace(",", ";")), {}),
    "said": ("t.csv", lambda path: path.write_text(PLAIN.replace(",", ":")), {"delimiter": ":"}),
    "german": ("t.csv", lambda path: path.write_text(GERMAN, encoding="cp1252"), GERMAN_OPTIONS),
    "utf_16": ("t.csv", lambda path: path.write_text(PLAIN, encoding="utf-16"), {}),
    "preamble": ("t.csv", lambda path: path.write_text("export\n\n" + PLAIN), {"skiprows": 2}),
    "units": ("t.csv", lambda path: path.write_text(PLAIN.replace("a,y\n", "a,y\n,m,m\n", 1)), {"skiprows": [1]}),
    "footer": ("t.csv", lambda path: path.write_text(PLAIN + "total,1,1\n"), {"skipfooter": 1}),
    "comment": ("t.csv", lambda path: path.write_text("# data\n" + PLAIN), {"comment": "#"}),
    "no_header": ("t.csv", lambda path: path.write_text(NO_HEADER), {"header": "none", "names": ["é code", "a", "y"]}),
    "quotes": ("t.csv", lambda path: path.write_text(PLAIN.replace("01", "'01'")), {"quotechar": "'"}),
    "ending": ("t.txt", lambda path: path.write_text(PLAIN), {"format": "csv"}),
    "parquet": ("t.parquet", lambda path: pq.write_table(TABLE, path), {}),
}


def flags(options: dict[str, object]) -> list[str]:
    """Return the options as they are typed."""
    typed = []
    for name, value in options.items():
        typed += [f"--{name}", str(value).replace("'", "") if isinstance(value, list) else str(value)]
    return typed


@pytest.mark.parametrize("way", WAYS)
def test_what_trained_can_be_predicted(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, write, options = WAYS[way]
    write(tmp_path / name)
    features = ["a", {"name": "é code", "kind": "categorical"}]
    config = {"name": "d", "source": name, "target": "y", "features": features} | options
    dataset = read_dataset(resolve_source(DatasetConfig.model_validate(config), tmp_path, S3Settings()), bias=True)
    assert dataset.card.feature("é code").levels == tuple(WEIGHTS)
    commit(tmp_path, {"d": model(ModelCard("y", (A, CODE)), [1.0, 100.0, 200.0], 0.0)})
    assert gridline(tmp_path, monkeypatch, "--input", name, *flags(options), "--output", "out.csv") == 0
    text = (tmp_path / "out.csv").read_text()
    rows = list(csv.DictReader(text.splitlines(), delimiter=";" if ";" in text else ":" if ":" in text else ","))
    found = [float(row["prediction"].replace(",", ".")) for row in rows]
    assert found == [a + WEIGHTS[code] for code, a in ROWS]
    assert gridline(tmp_path, monkeypatch, "--input", name, *flags(options)) == 0


def test_columns_of_hive_folders_are_features_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = ModelCard("y", (A, Feature("year")), group_by=("store",))
    commit(tmp_path, {"001": model(card, [1.0, 1.0], 0.0), "1": model(card, [2.0, 0.0], 0.0)})
    for store, year in (("001", 2024), ("1", 2025)):
        folder = tmp_path / "in" / f"store={store}" / f"year={year}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"a": [1, 2]}), folder / "part.parquet")
    assert gridline(tmp_path, monkeypatch, "--input", "in", "--output", "out.parquet") == 0
    found = pq.ParquetFile(tmp_path / "out.parquet").read()
    assert found["prediction"].to_pylist() == [2025.0, 2026.0, 2.0, 4.0]
    assert found["store"].to_pylist() == ["001", "001", "1", "1"]


def test_dates_are_read_as_training_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day = Feature("day", kind="datetime", parts=("days",), origin=20_000.0)
    commit(tmp_path, {"d": model(ModelCard("y", (day,)), [1.0], 0.0)})
    (tmp_path / "rows.csv").write_text("day\n2024-10-04\n2024-10-05T12:00\nsoon\n")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv") == 5
    good, half, bad = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (good["prediction"], half["prediction"]) == ("0", "1.5")
    assert bad["error"].startswith("column 'day': 'soon' is not a date: write it as 2024-01-31")
    (tmp_path / "rows.csv").write_text("day\n2024-10-04\n")
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv") == 0


def test_quotes_that_swallow_rows_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(tmp_path, {"d": fitted(ModelCard("y", (Feature("area"),)), 1)})
    (tmp_path / "rows.csv").write_text('note,area\n"5"" pot,1\nsmall,2\n6"" pot",3\n')
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv") == 2
    assert "rows.csv:2: a quote is opened and swallows line 3" in capsys.readouterr().err
    (tmp_path / "rows.csv").write_text('note,area\n"one, two\nthree, four",1\n')
    assert gridline(tmp_path, monkeypatch, "--input", "rows.csv", "--output", "out.csv") == 0
