"""Which columns `features` names: all, patterns, kinds, products; what the cells say they are; what is left out."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from handler.rows.encoding import encode
from handler.rows.model_card import ModelCard
from jobs.config import DatasetConfig
from jobs.errors import DataError
from jobs.sources.choosing import choose_columns
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.job_datasets import resolve_source
from jobs.sources.resolved import ResolvedSource
from model_store.objects.s3_settings import S3Settings

HEADER = "id,size,wet,when,color,gap,same,none,y"
ROWS = [
    f"n{at},{at * 1.5},{'yes' if at % 3 else 'no'},2026-01-{1 + at:02d},{'red' if at % 2 else 'blue'},"
    f"{'' if at == 4 else at * at % 7},7,NA,{at * 2.5 + at % 3}"
    for at in range(24)
]


def resolve(folder: Path, features: Any, text: str | None = None, **keys: Any) -> ResolvedSource:
    (folder / "t.csv").write_text("\n".join([HEADER, *ROWS]) if text is None else text)
    config = {"name": "d", "source": "t.csv", "target": "y", "features": features, **keys}
    return resolve_source(DatasetConfig.model_validate(config), folder, S3Settings())


def chosen(folder: Path, features: Any, **keys: Any) -> dict[str, tuple[str, str]]:
    """Return kind and rule for missing cells of each feature."""
    source = choose_columns(resolve(folder, features, **keys))
    return {feature.name: (feature.kind, feature.missing) for feature in source.features}


def read(folder: Path, features: Any, **keys: Any) -> Dataset:
    return read_dataset(resolve(folder, features, **keys), bias=True)


EVERY = {
    "size": ("numeric", "mean"),
    "wet": ("numeric", "mean"),
    "when": ("datetime", "mean"),
    "color": ("categorical", "level"),
    "gap": ("numeric", "mean"),
}


@pytest.mark.parametrize("features", ["all", ["all"], "*", ["*"], [{"name": "*"}]])
def test_all_takes_the_columns_of_use_by_what_their_cells_are(tmp_path: Path, features: Any) -> None:
    assert chosen(tmp_path, features) == EVERY


def test_columns_of_no_use_are_left_out_with_a_reason(tmp_path: Path) -> None:
    unused = read(tmp_path, "all").unused
    assert unused == {"id": "has 24 levels in 24 rows", "same": "is 7 in every row that has it", "none": "has no value"}


@pytest.mark.parametrize("cell", ["7", "word", ""])
def test_columns_of_no_use_in_rows_with_a_target_are_left_out(tmp_path: Path, cell: str) -> None:
    lines = [f"{at},{cell if at >= 12 else ''},{at * 2 + at % 3 if at < 12 else ''}" for at in range(24)]
    source = choose_columns(resolve(tmp_path, "all", "\n".join(["a,b,y", *lines])))
    assert [feature.name for feature in source.features] == ["a"]
    assert read(tmp_path, "all", text="\n".join(["a,b,y", *lines])).num_rows == 12


def test_a_word_in_a_row_without_a_target_makes_a_column_text(tmp_path: Path) -> None:
    lines = [f"{at},{at % 2 if at else 'word'},{at * 2 + at % 3 if at else ''}" for at in range(24)]
    source = choose_columns(resolve(tmp_path, "all", "\n".join(["a,b,y", *lines])))
    assert [(feature.name, feature.kind) for feature in source.features] == [("a", "numeric"), ("b", "categorical")]


def test_a_dataset_of_all_columns_is_the_one_of_their_names(tmp_path: Path) -> None:
    named = [
        {"name": "size"},
        {"name": "wet"},
        {"name": "when", "kind": "datetime"},
        {"name": "color", "kind": "categorical"},
        {"name": "gap", "missing": "mean"},
    ]
    found, expected = read(tmp_path, "all"), read(tmp_path, named)
    np.testing.assert_array_equal(found.x_nd, expected.x_nd)
    assert found.card.columns == expected.card.columns == ("size", "wet", "when", "color=red", "gap")


@pytest.mark.parametrize(
    ("features", "names"),
    [
        (["*", "!gap"], ["size", "wet", "when", "color"]),
        (["*", "!w*"], ["size", "color", "gap"]),
        (["?a?", "s*"], ["gap", "size"]),
        (["color", "s*"], ["color", "size"]),
        ([{"all": "numeric"}], ["size", "wet", "gap"]),
        ([{"all": "categorical"}, {"all": "datetime"}], ["when", "color"]),
        (["gap", "*"], ["gap", "size", "wet", "when", "color"]),
    ],
)
def test_patterns_name_columns_in_the_order_of_lines_and_of_the_file(
    tmp_path: Path, features: Any, names: list[str]
) -> None:
    if features[0] in ("color",):
        features = [{"name": "color", "kind": "categorical"}, *features[1:]]
    assert sorted(chosen(tmp_path, features)) == sorted(names)


def test_a_name_has_its_own_rule_and_a_pattern_that_of_its_first_line(tmp_path: Path) -> None:
    features = [{"name": "g*", "missing": "median"}, {"name": "size", "transform": "log1p"}, "*"]
    found = choose_columns(resolve(tmp_path, features)).features
    rules = {feature.name: (feature.missing, feature.transform) for feature in found}
    assert rules["gap"] == ("median", None)
    assert rules["size"] == ("error", "log1p")
    assert rules["color"] == ("level", None)


def test_group_keys_and_target_are_no_features_of_patterns(tmp_path: Path) -> None:
    assert "color" not in chosen(tmp_path, "all", group_by="color")
    assert "y" not in chosen(tmp_path, ["*"])


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (["sise", "*"], "column 'sise' is missing; found .*: did you mean 'size'?"),
        (["x*"], "column 'x\\*' is missing"),
        (["*", "!ide"], "column 'ide' is missing; found .*: did you mean 'id'?"),
        (["size", "size:hue"], "column 'hue' is missing"),
        (["same*", "none*"], "leaves no column to predict with: 'same' is 7 in every row that has it; 'none' has no"),
        (["size", "color^2"], "a power of the category 'color'"),
        ([{"name": "size:gap", "missing": "mean"}, "size"], "a product of columns: give the options to these"),
    ],
)
def test_names_that_mean_nothing_are_refused(tmp_path: Path, features: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        choose_columns(resolve(tmp_path, features))


def test_a_column_may_have_the_name_of_a_product_or_a_pattern(tmp_path: Path) -> None:
    text = "a:b,a*,!c,y\n" + "".join(f"{at},{at * at % 5},{at % 2},{at * 3}\n" for at in range(8))
    assert list(chosen(tmp_path, ["a:b", "a*", "!c"], text=text)) == ["a:b", "a*", "!c"]


def test_products_and_powers_are_in_the_card_and_take_raw_values(tmp_path: Path) -> None:
    dataset = read(tmp_path, ["size", "size^2", "size:color", "wet:size"])
    assert dataset.card.columns == ("size", "size^2", "size:color=red", "wet:size")
    card = ModelCard.from_json(dataset.card.to_json())
    assert [feature.main for feature in card.features] == [True, False, False]
    raw = {"size": np.array([3.0]), "color": np.array(["red"], object), "wet": np.array([1.0])}
    assert encode(card, raw).tolist() == [[3, 9, 3, 3]]
    assert dataset.x_nd[3].tolist() == [4.5, 20.25, 4.5, 0]


def test_parquet_columns_are_what_their_types_say(tmp_path: Path) -> None:
    days = [dt.date(2026, 1, 1 + at) for at in range(12)]
    table = pa.table(
        {
            "flag": [at % 2 == 0 for at in range(12)],
            "code": pa.array([str(at % 3) for at in range(12)]).dictionary_encode(),
            "day": pa.array(days),
            "time": pa.array([dt.datetime(2026, 1, 1, at) for at in range(12)], pa.timestamp("us")),
            "list": [[at] for at in range(12)],
            "whole": pa.array([None, *range(11)], pa.int8()),
            "y": [float(at * at) for at in range(12)],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    config = {"name": "d", "source": "t.parquet", "target": "y", "features": "all"}
    source = choose_columns(resolve_source(DatasetConfig.model_validate(config), tmp_path, S3Settings()))
    assert {feature.name: feature.kind for feature in source.features} == {
        "flag": "numeric",
        "code": "categorical",
        "day": "datetime",
        "time": "datetime",
        "whole": "numeric",
    }
    assert source.unused == {"list": "is of type list<element: int64>"}


def test_one_word_in_a_column_of_numbers_makes_it_text(tmp_path: Path) -> None:
    text = "a,b,y\n" + "".join(f"{at % 3},{'few' if at == 7 else at % 4},{at}\n" for at in range(40))
    assert chosen(tmp_path, "all", text=text)["b"] == ("categorical", "level")
    assert chosen(tmp_path, [{"name": "b", "kind": "auto"}], text=text)["b"] == ("categorical", "error")


def test_categories_that_leave_no_rows_are_left_out_beginning_with_the_most_levels(tmp_path: Path) -> None:
    text = "a,b,c,y\n" + "".join(f"a{at % 9},b{at % 8},c{at % 2},{at}\n" for at in range(17))
    source = choose_columns(resolve(tmp_path, "all", text=text))
    assert [feature.name for feature in source.features] == ["b", "c"]
    assert source.unused == {"a": "has 9 levels in 17 rows"}
    counted = choose_columns(resolve(tmp_path, [{"name": "*", "min_count": 3}], text=text))
    assert [feature.name for feature in counted.features] == ["a", "b", "c"]


def test_columns_without_a_name_of_their_own_are_left_out(tmp_path: Path) -> None:
    text = ",a,b,b,y\n" + "".join(f"{at},{at % 5},{at % 3},1,{at * at}\n" for at in range(12))
    source = choose_columns(resolve(tmp_path, "all", text=text))
    assert [feature.name for feature in source.features] == ["a"]
    assert source.unused == {"b": "is the name of two columns", "": "has no name"}


def test_columns_of_folders_are_what_their_values_are(tmp_path: Path) -> None:
    for year in (2024, 2025):
        for region in ("north", "south"):
            folder = tmp_path / f"year={year}" / f"region={region}"
            folder.mkdir(parents=True)
            rows = {"a": [1.0 * year % 7, 2.0, 5.0], "y": [1.0, 3.0, year % 5]}
            pq.write_table(pa.table(rows), folder / "part.parquet")
    config = {"name": "d", "source": "year=*/**", "target": "y", "features": "all"}
    source = choose_columns(resolve_source(DatasetConfig.model_validate(config), tmp_path, S3Settings()))
    assert {feature.name: feature.kind for feature in source.features} == {
        "a": "numeric",
        "year": "numeric",
        "region": "categorical",
    }
