"""Missing cells, rare levels, dates and transformed targets of a dataset in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.errors import EncodingError
from handler.rows.encoding import encode
from jobs.config import DatasetConfig
from jobs.errors import DataError
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.job_datasets import resolve_source
from model_store.objects.s3_settings import S3Settings

ROWS = ["a,color,y", "1,red,1", "2,blue,2", "NA,red,4", "9,,8", "4,red,16", "5,blue,", "7,green,64", "8,red,100"]


def read(folder: Path, features: Any, rows: list[str] = ROWS, **keys: Any) -> Dataset:
    (folder / "t.csv").write_text("\n".join(rows))
    config = {"name": "d", "source": "t.csv", "target": "y", "features": features, "missing_target": "drop", **keys}
    return read_dataset(resolve_source(DatasetConfig.model_validate(config), folder, S3Settings()), bias=True)


def refusal(folder: Path, features: Any, rows: list[str] = ROWS, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, features, rows, **keys)
    return str(caught.value)


def test_a_row_without_a_target_is_left_out_and_counted(tmp_path: Path) -> None:
    dataset = read(tmp_path, [{"name": "a", "missing": "mean"}])
    assert dataset.y_n.tolist() == [1, 2, 4, 8, 16, 64, 100]
    assert dataset.left_out == {"target missing": 1}
    assert dataset.fill_k.tolist() == [(1 + 2 + 9 + 4 + 7 + 8) / 6]


def test_a_row_without_a_target_is_an_error_with_a_remedy_that_works(tmp_path: Path) -> None:
    message = refusal(tmp_path, [{"name": "a", "missing": "mean"}], missing_target="error")
    assert "t.csv:7: column 'y': '' is missing: fill it, or set 'missing_target: drop'" in message


@pytest.mark.parametrize(("features", "found"), [(["a*"], 7), ([{"name": "a", "missing": "drop"}], None)])
def test_a_missing_target_is_an_error_only_where_all_columns_are_named(
    tmp_path: Path, features: Any, found: int | None
) -> None:
    if found is None:
        assert "missing_target: drop" in refusal(tmp_path, features, missing_target=None)
    else:
        assert read(tmp_path, features, missing_target=None).num_rows == found


def test_rules_for_missing_numbers(tmp_path: Path) -> None:
    assert read(tmp_path, [{"name": "a", "missing": "median"}]).fill_k.tolist() == [5.5]
    indicator = read(tmp_path, [{"name": "a", "missing": "indicator"}])
    assert indicator.card.columns == ("a", "a_missing")
    assert indicator.x_nd[:, 1].tolist() == [0, 0, 1, 0, 0, 0, 0]
    dropped = read(tmp_path, [{"name": "a", "missing": "drop"}])
    assert (dropped.num_rows, dropped.left_out) == (6, {"target missing": 1, "'a' missing": 1})


def test_an_indicator_without_missing_cells_has_no_column(tmp_path: Path) -> None:
    dataset = read(tmp_path, [{"name": "a", "missing": "indicator"}], [*ROWS[:3], *ROWS[4:]])
    assert dataset.card.columns == ("a",)
    assert encode(dataset.card, {"a": np.array([np.nan])}, dataset.fill_k).item() == dataset.fill_k.item()


def test_rules_for_missing_categories(tmp_path: Path) -> None:
    assert "t.csv:5: column 'color': '' is missing: fill it, set 'missing: level'" in refusal(
        tmp_path, [{"name": "color", "kind": "categorical"}]
    )
    level = read(tmp_path, [{"name": "color", "kind": "categorical", "missing": "level"}])
    assert level.card.features[0].levels == ("(missing)", "blue", "green", "red")
    drop = read(tmp_path, [{"name": "color", "kind": "categorical", "missing": "drop"}])
    assert drop.left_out == {"target missing": 1, "'color' missing": 1}
    with pytest.raises(EncodingError, match="is not a level"):
        encode(drop.card, {"color": np.array([None])})


def test_rare_levels_are_one_and_stand_for_unseen_ones(tmp_path: Path) -> None:
    rule = {"name": "color", "kind": "categorical", "missing": "level", "min_count": 2}
    dataset = read(tmp_path, [rule])
    assert dataset.card.columns == ("color=red",)
    assert dataset.card.features[0].levels == ("(other)", "red")
    assert encode(dataset.card, {"color": np.array(["pink", None, "red"], object)})[:, 0].tolist() == [0, 0, 1]


def test_left_out_rows_are_not_checked_and_later_errors_have_their_line(tmp_path: Path) -> None:
    features = ["a", {"name": "color", "kind": "categorical"}]
    rows = ["a,color,y", "1,red,1", ",,", "3,blue,2", "inf,,", "4,red,3", ",red,5"]
    assert "t.csv:7: column 'a': '' is missing" in refusal(tmp_path, features, rows)
    assert "no row is left to train: 2 for target missing" in refusal(tmp_path, features, [rows[0], rows[2], rows[4]])


def test_a_level_that_only_validates_is_named_with_its_line_after_rows_that_are_left_out(tmp_path: Path) -> None:
    rows = ["a,color,y", *(f"{at},{'red' if at % 2 else 'blue'},{at * at}" for at in range(40))]
    seen = read(tmp_path, ["a", {"name": "color", "kind": "categorical"}], rows, validation={"fraction": 0.3})
    assert seen.fold_n is not None
    for line in range(2, 40):
        odd = [*rows[: line - 1], rows[line - 1].replace("red", "pink").replace("blue", "pink"), *rows[line:]]
        text = [odd[0], "5,red,", *odd[1:]]
        try:
            read(tmp_path, ["a", {"name": "color", "kind": "categorical"}], text, validation={"fraction": 0.3})
        except DataError as exc:
            assert f"t.csv:{line + 1}: feature 'color' has value 'pink'" in str(exc)
            return
    raise AssertionError("no row validates")


@pytest.mark.parametrize(("transform", "function"), [("log", np.log), ("log1p", np.log1p)])
def test_the_target_is_transformed(tmp_path: Path, transform: str, function: np.ufunc) -> None:
    dataset = read(tmp_path, [{"name": "a", "missing": "mean"}], target_transform=transform)
    np.testing.assert_array_equal(dataset.y_n, function([1.0, 2, 4, 8, 16, 64, 100]))
    assert dataset.card.target_transform == transform


def test_a_target_outside_the_domain_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, [{"name": "a", "missing": "mean"}], [*ROWS, "3,red,0"], target_transform="log")
    assert "t.csv:10: column 'y': '0' is outside the domain of log, which is > 0: correct it, or remove" in message
    assert message.endswith("remove 'target_transform'")


DATES = ["day,y", *(f"2026-{1 + at // 28:02d}-{1 + at % 28:02d}T{at % 24:02d}:00,{at}" for at in range(56))]


def test_a_date_is_days_from_the_first_day_or_an_origin(tmp_path: Path) -> None:
    dataset = read(tmp_path, [{"name": "day", "kind": "datetime"}], DATES)
    assert dataset.x_nd[[0, 1, 30], 0] == pytest.approx([0, 1 + 1 / 24, 33 + 6 / 24])
    assert dataset.feature_min_k[0] == dataset.card.features[0].origin == 20454
    other = read(tmp_path, [{"name": "day", "kind": "datetime", "origin": "2025-12-31"}], DATES)
    assert other.x_nd[:, 0] == pytest.approx(dataset.x_nd[:, 0] + 1)


def test_dates_have_parts(tmp_path: Path) -> None:
    parts = ["days", "year", "month", "weekday", "hour"]
    dataset = read(tmp_path, [{"name": "day", "kind": "datetime", "parts": parts}], DATES)
    assert dataset.card.columns[:3] == ("day", "day.month=02", "day.weekday=02")
    assert len(dataset.card.columns) == 1 + 0 + 1 + 6 + 23
    cyclic = read(tmp_path, [{"name": "day", "kind": "datetime", "parts": ["hour"], "cyclic": True}], DATES)
    assert cyclic.card.columns == ("day.hour.sin", "day.hour.cos")
    assert cyclic.x_nd[6] == pytest.approx([1, 0])


def test_a_word_among_dates_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, [{"name": "day", "kind": "datetime"}], [*DATES, "soon,3"])
    assert "t.csv:58: column 'day'" in message
