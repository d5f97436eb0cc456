"""What is read of good data: the same dataset, whatever the format, the number of files and the way of writing."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.rows.model_card import Feature
from jobs.config import DatasetConfig
from jobs.sources.columns import Fragment, Wanted
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.delimited import Delimited
from jobs.sources.fragments import find_fragments
from jobs.sources.job_datasets import resolve_source
from jobs.sources.read_options import ReadOptions
from jobs.sources.reading import read_columns
from jobs.sources.validation_split import TRAINS
from model_store.objects.s3_settings import S3Settings

ROOT = Path(__file__).parents[4]

S3 = S3Settings()


def read(folder: Path, source: Any, *, bias: bool = True, **keys: Any) -> Dataset:
    config = {"name": "houses", "source": source, "target": "price", "features": ["area", "rooms"], **keys}
    return read_dataset(resolve_source(DatasetConfig.model_validate(config), folder, S3), bias=bias)


CSV = "area,rooms,price\n50,2,100\n60.5,3,130\n80,3,1.5e2\n120,5,-260\n"
X = [[50.0, 2.0], [60.5, 3.0], [80.0, 3.0], [120.0, 5.0]]
Y = [100.0, 130.0, 150.0, -260.0]


def write_parquet(path: Path, row_group_size: int = 10, **columns: Any) -> None:
    table = {"area": [row[0] for row in X], "rooms": [2, 3, 3, 5], "price": Y, **columns}
    pq.write_table(pa.table(table), path, row_group_size=row_group_size)


@pytest.mark.parametrize(
    "text",
    [
        CSV.encode(),
        CSV.replace("\n", "\r\n").encode(),
        CSV.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + CSV.encode(),
        CSV.rstrip().encode(),
        CSV.replace("\n", "\n\n").encode(),
        CSV.replace("60.5,3,130", '"60.5","3","130"').encode(),
        CSV.replace("60.5,3,130", " 60.5 ,+3,130.").encode(),
        CSV.replace("area,rooms,price", '"area","rooms","price"').encode(),
        "\n".join(f"{line},größe" for line in CSV.split()).encode(),
        "\n".join(f'{line},"a, ""b""\nc"' for line in CSV.split()).encode(),
    ],
)
def test_sources_csv_however_it_is_written(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(text)
    dataset = read(tmp_path, "t.csv")
    assert dataset.x_nd.tolist() == X
    assert dataset.y_n.tolist() == Y
    assert (dataset.x_nd.dtype, dataset.num_rows) == (np.float64, 4)


@pytest.mark.parametrize(
    ("name", "delimiter", "keys"),
    [
        ("t.tsv", "\t", {}),
        ("t.csv", ";", {"delimiter": ";"}),
        ("t.data", "|", {"format": "csv", "delimiter": "|"}),
        ("t.csv", "\t", {"format": "tsv"}),
    ],
)
def test_sources_csv_with_other_delimiters(name: str, delimiter: str, keys: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(CSV.replace(",", delimiter))
    assert read(tmp_path, name, **keys).x_nd.tolist() == X


@pytest.mark.parametrize(
    "rooms",
    [
        [2, 3, 3, 5],
        [2.0, 3.0, 3.0, 5.0],
        [Decimal("2.00"), Decimal("3.00"), Decimal("3.00"), Decimal("5.00")],
        pa.array([2, 3, 3, 5], pa.uint8()),
        pa.array([2, 3, 3, 5], pa.float32()),
        pa.array([2, 3, 3, 5], pa.int64()).dictionary_encode(),
    ],
)
def test_sources_parquet_of_every_kind_of_number(rooms: Any, tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", rooms=rooms)
    dataset = read(tmp_path, "t.parquet")
    assert dataset.x_nd.tolist() == X
    (tmp_path / "t.csv").write_text(CSV)
    assert dataset.fingerprint == read(tmp_path, "t.csv").fingerprint


def test_sources_truths_count_as_one_and_zero(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("area,rooms,price\n1,true,1\n2,False,2\n4,TRUE,3\n")
    write_parquet(tmp_path / "t.parquet", area=[1, 2, 4], rooms=[True, False, True], price=[1, 2, 3])
    for source in ("t.csv", "t.parquet"):
        assert read(tmp_path, source).x_nd.tolist() == [[1.0, 1.0], [2.0, 0.0], [4.0, 1.0]]


def test_sources_missing_value_is_the_mean_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("area,rooms,price\n1,2,1\n2,,2\n4,4,3\n5,NA,4\n")
    write_parquet(tmp_path / "t.parquet", area=[1, 2, 4, 5], rooms=[2, None, 4, None], price=[1, 2, 3, 4])
    for source in ("t.csv", "t.parquet"):
        dataset = read(tmp_path, source, features=["area", {"name": "rooms", "missing": "mean"}])
        assert dataset.x_nd[:, 1].tolist() == [2.0, 3.0, 4.0, 3.0]
        assert np.array_equal(dataset.fill_k, [np.nan, 3.0], equal_nan=True)
        assert (dataset.feature_min_k.tolist(), dataset.feature_max_k.tolist()) == ([1.0, 2.0], [5.0, 4.0])


def test_sources_missing_value_is_the_mean_of_the_rows_that_train(tmp_path: Path) -> None:
    rooms = [float(row * row) for row in range(60)]
    write_parquet(
        tmp_path / "t.parquet", area=list(range(60)), rooms=[None, *rooms[1:]], price=[row % 7 for row in range(60)]
    )
    features = ["area", {"name": "rooms", "missing": "mean"}]
    dataset = read(tmp_path, "t.parquet", features=features, validation={"fraction": 0.3})
    assert dataset.fold_n is not None
    trains = [row for row in range(1, 60) if dataset.fold_n[row] == TRAINS]
    assert dataset.fill_k[1] == pytest.approx(np.mean([rooms[row] for row in trains]))
    assert dataset.feature_max_k[1] == max(rooms[row] for row in trains)


def test_sources_categories_become_a_column_for_each_level_but_the_first(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("area,rooms,price\n1,red,1\n2,NA,2\n4,blue,3\n5,red,7\n")
    features = ["area", {"name": "rooms", "kind": "categorical"}]
    dataset = read(tmp_path, "t.csv", features=features)
    assert dataset.card.columns == ("area", "rooms=blue", "rooms=red")
    assert dataset.card.features[1] == Feature("rooms", kind="categorical", levels=("NA", "blue", "red"))
    assert dataset.x_nd.tolist() == [[1.0, 0.0, 1.0], [2.0, 0.0, 0.0], [4.0, 1.0, 0.0], [5.0, 0.0, 1.0]]
    assert np.isnan(dataset.feature_min_k[1])
    assert read(tmp_path, "t.csv", features=features, bias=False).x_nd.shape == (4, 4)


@pytest.mark.parametrize(
    "sites", [[1, 2, 2, 1], ["1", "2", "2", "1"], pa.array(["1", "2", "2", "1"]).dictionary_encode()]
)
def test_sources_categories_of_parquet_are_text_or_whole_numbers(sites: Any, tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", rooms=sites)
    dataset = read(tmp_path, "t.parquet", features=["area", {"name": "rooms", "kind": "categorical"}])
    assert dataset.card.columns == ("area", "rooms=2")
    assert dataset.x_nd[:, 1].tolist() == [0.0, 1.0, 1.0, 0.0]


def test_sources_transform_is_applied_and_ranges_stay_raw(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    dataset = read(tmp_path, "t.csv", features=[{"name": "area", "transform": "log10"}])
    assert dataset.x_nd[:, 0] == pytest.approx(np.log10([50, 60.5, 80, 120]))
    assert dataset.feature_max_k.tolist() == [120.0]


def test_sources_without_a_bias_a_constant_column_stands_for_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("area,rooms,price\n1,1,1\n2,1,3\n3,1,4\n")
    assert read(tmp_path, "t.csv", bias=False).x_nd[:, 1].tolist() == [1.0, 1.0, 1.0]


def test_sources_many_files_are_one_table_in_the_order_of_their_paths(tmp_path: Path) -> None:
    lines = CSV.split()
    (tmp_path / "b").mkdir()
    for name, rows in {"b/2.csv": lines[3:4], "a.csv": lines[1:3], "c.csv": lines[4:]}.items():
        (tmp_path / name).write_text("\n".join([lines[0], *rows]))
    (tmp_path / "whole.tsv").write_text(CSV.replace(",", "\t"))
    whole = read(tmp_path, "whole.tsv")
    for source in (
        "**/*.csv",
        "**.csv",
        "./**/*.csv",
        str(tmp_path / "**/*.csv"),
        ["c.csv", "b", "a.csv"],
        ["?.csv", "b/*.csv"],
        ["[a-c].csv", "b/[!3].csv"],
    ):
        dataset = read(tmp_path, source)
        assert dataset.y_n.tolist() == Y
        assert dataset.fingerprint == whole.fingerprint


def test_sources_row_groups_are_one_table(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", row_group_size=3)
    assert read(tmp_path, "t.parquet").y_n.tolist() == Y
    fragments = find_fragments(["t.parquet"], file_format="auto", options=ReadOptions(), folder=tmp_path, s3=S3)
    assert [(each.row_group, each.first_row, each.num_rows) for each in fragments] == [(0, 0, 3), (1, 3, 1)]


def test_sources_folder_leaves_hidden_files_out(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.csv").write_text(CSV)
    (tmp_path / "data" / "_SUCCESS").write_text("")
    (tmp_path / "data" / ".t.csv.crc").write_text("x")
    assert read(tmp_path, "data").num_rows == 4


def test_sources_folder_whose_name_is_a_pattern_is_taken_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "[a]*").mkdir()
    (tmp_path / "[a]*" / "t.csv").write_text(CSV)
    assert read(tmp_path / "[a]*", "*.csv").num_rows == 4


@pytest.mark.parametrize("source", ["*.csv", "./*.csv", "t.csv", "../here/*.csv", "."])
def test_sources_are_relative_to_the_working_directory(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "t.csv").write_text(CSV)
    monkeypatch.chdir(tmp_path / "here")
    assert read(Path(), source).num_rows == 4


def test_sources_file_whose_name_is_a_pattern_is_taken_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "t[1].csv").write_text(CSV)
    assert read(tmp_path, "t[1].csv").num_rows == 4


def test_sources_beside_the_configuration_come_before_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, scale in {"job": 1, "work": 2}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(CSV.replace("-260", str(260 * scale)))
    (tmp_path / "work" / "u.csv").write_text(CSV)
    monkeypatch.chdir(tmp_path / "work")
    assert read(tmp_path / "job", "t.csv").y_n[3] == 260
    assert read(tmp_path / "job", "u.csv").y_n[3] == -260


def test_sources_of_the_example_are_found_from_the_root_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    source = "examples/data/plant_richness.tsv"
    dataset = read(Path("examples"), source, target="ntv_rich", features=["area"])
    assert dataset.x_nd.shape == (22, 1)
    slope, intercept = np.polyfit(dataset.x_nd[:, 0], dataset.y_n, 1)
    assert (slope, intercept) == (pytest.approx(0.35573936), pytest.approx(1.33604828))


def test_sources_fingerprint_is_of_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    (tmp_path / "same.csv").write_text("price,note,rooms,area\n100,,2,50.0\n130,,3,60.5\n150,,3,80\n-260,,5,120\n")
    (tmp_path / "other.csv").write_text(CSV.replace("-260", "-260.0000001"))
    one = read(tmp_path, "t.csv").fingerprint
    assert len(one) == 64
    assert read(tmp_path, "same.csv").fingerprint == one
    assert read(tmp_path, "other.csv").fingerprint != one
    assert read(tmp_path, "t.csv", features=["rooms", "area"]).fingerprint != one


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30), data=st.data())
def test_sources_csv_gives_back_every_float(
    values: list[float], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("floats") / "t.csv"
    texts = [data.draw(st.sampled_from([repr(value), f"{value:.17g}", f'"{value!r}"'])) for value in values]
    path.write_text("\n".join(["v,w", *(f"{text},0" for text in texts)]))
    (columns,) = read_columns([Fragment(str(path), 0, Delimited(","))], [Wanted("v")], S3)
    assert columns.numbers["v"].tolist() == values


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=1, max_size=20))
def test_sources_csv_gives_back_every_text(cells: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("texts") / "t.csv"
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    path.write_text("\n".join(["v,w", *(f"{cell},0" for cell in quoted)]), encoding="utf-8")
    (columns,) = read_columns([Fragment(str(path), 0, Delimited(","))], [Wanted("v", "text")], S3)
    assert columns.texts["v"].cells().tolist() == [cell.strip() or None for cell in cells]
