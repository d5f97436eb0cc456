"""Groups have distinct names whatever their keys are, and a bad one fails alone, with its reason."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import DataError, MissingColumnError
from tests.samples.group_tables import assert_same_trials, documents_of, job_of, train_groups

KEYS = ["é", "日本", "a,b", 'say "x"', "../../etc/passwd", "C:\\x", "%2e%2e", "two\nlines", "x" * 5000]


def table(keys: list[Any], rows_each: int = 8, seed: int = 0) -> pa.Table:
    """Return rows of each key with two features and a target that they do not fit exactly."""
    random = np.random.default_rng(seed)
    n = len(keys) * rows_each
    a, b = random.normal(size=n), random.normal(size=n)
    return pa.table(
        {"a": a, "b": b, "y": a - 2 * b + random.normal(0, 0.1, n), "key": [k for k in keys for _ in range(rows_each)]}
    )


def train(rows: pa.Table, folder: Path, **settings: Any) -> dict[str, dict[str, Any]]:
    pq.write_table(rows, folder / "t.parquet", row_group_size=11)
    config = job_of("t.parquet", ["a", "b"], target="y", **{"group_by": "key", **settings})
    return documents_of(train_groups(config, folder))


def with_column(rows: pa.Table, name: str, values: Any) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))


def test_group_of_one_column_has_its_key_for_a_name(tmp_path: Path) -> None:
    assert train(table(KEYS), tmp_path).keys() == set(KEYS)


def test_group_of_whole_numbers_has_their_digits_for_a_name(tmp_path: Path) -> None:
    assert train(table([17, -3, 2**40]), tmp_path).keys() == {"17", "-3", str(2**40)}


def test_groups_of_two_columns_have_names_that_read_as_csv(tmp_path: Path) -> None:
    pairs = [("a,b", "c"), ("a", "b,c"), ('"', ""), ("north", "17"), ("a\nb", "c"), ("x", '"'), ("", "")]
    pairs = [pair for pair in pairs if all(pair)] + [("é", "ü")]
    rows = table([first for first, _ in pairs]).append_column("other", [[o for _, o in pairs for _ in range(8)]])
    found = train(rows, tmp_path, group_by=["key", "other"])
    assert {tuple(next(csv.reader(io.StringIO(name, newline="")))) for name in found} == set(pairs)
    assert "north,17" in found


@pytest.mark.parametrize("color", [False, True])
def test_cards_of_groups_keep_the_key_columns(tmp_path: Path, color: bool) -> None:
    rows = table(["a", "b"]).append_column("other", pa.array(["x", "y"] * 8))
    rows = rows.append_column("color", pa.array(["red", "red", "blue", "blue"] * 4))
    pq.write_table(rows, tmp_path / "t.parquet")
    features = ["a", {"name": "color", "kind": "categorical"}] if color else ["a"]
    outcome = train_groups(job_of("t.parquet", features, target="y", group_by=["key", "other"]), tmp_path)
    cards = {batch.challengers.stack.card.group_by for batch in outcome.batches}
    assert cards == {("key", "other")}


@pytest.mark.parametrize("empty", [None, "", " "])
def test_group_without_a_key_fails_alone(tmp_path: Path, empty: str | None) -> None:
    found = train(table(["a", empty, "b"]), tmp_path)
    assert {name: document["status"] for name, document in found.items()} == {
        "a": "not committed",
        "b": "not committed",
        '""': "failed",
    }
    assert found['""']["reason"].endswith("t.parquet: row 9: the key column 'key' is empty: fill it, or remove the row")


def test_group_whose_key_is_two_quotes_is_not_the_empty_one(tmp_path: Path) -> None:
    found = train(table(['""', None, "b"]), tmp_path)
    assert sorted(document["status"] for document in found.values()) == ["failed", "not committed", "not committed"]


BAD = 16  # the first row of the third group

CASES = {
    "one row": (lambda rows: rows.take([*range(BAD), BAD, *range(BAD + 8, 32)]), "one row trains: add rows"),
    "few rows": (lambda rows: rows.take([*range(BAD + 2), *range(BAD + 8, 32)]), "2 rows train, and there are 3"),
    "constant target": (
        lambda rows: with_column(rows, "y", np.where(bad(rows), 5.0, rows["y"])),
        "the target 'y' is 5 in every row that trains",
    ),
    "equal rows": (
        lambda rows: rows.take([*range(BAD), *[BAD] * 8, *range(BAD + 8, 32)]),
        "the target 'y' is -4.12868 in every row that trains",
    ),
    "NaN": (lambda rows: with_column(rows, "b", one(rows["b"], np.nan)), "row 20: column 'b': nan is missing"),
    "infinite": (lambda rows: with_column(rows, "a", one(rows["a"], -np.inf)), "row 20: column 'a': -inf is infinite"),
    "null target": (lambda rows: with_column(rows, "y", one(rows["y"], None)), "row 20: column 'y': nan is missing"),
}


def bad(rows: pa.Table) -> np.ndarray:
    return np.arange(len(rows)) // 8 == 2


def one(column: pa.ChunkedArray, value: float | None) -> list[float | None]:
    """Return a column with another value in one row of the third group."""
    values: list[float | None] = column.to_pylist()
    values[19] = value
    return values


@pytest.mark.parametrize("validation", [None, {"folds": 2, "seed": 0}])
@pytest.mark.parametrize("case", CASES)
def test_bad_group_fails_alone(tmp_path: Path, case: str, validation: dict[str, Any] | None) -> None:
    rows = table(["a", "b", "bad", "c"])
    damage, reason = CASES[case]
    expected = train(rows.filter(~bad(rows)), tmp_path, validation=validation)
    found = train(damage(rows), tmp_path, validation=validation)
    assert found.keys() == {"a", "b", "bad", "c"}
    document = found.pop("bad")
    assert (document["status"], document["best"], document["trials"]) == ("failed", None, [])
    if validation is None or case not in ("one row", "equal rows"):
        assert reason in document["reason"]
    else:
        assert "validation needs two different rows or more" in document["reason"]
    for name in ("a", "b", "c"):
        assert found[name]["status"] == "not committed"
        assert_same_trials(found[name]["trials"], expected[name]["trials"])


def test_value_outside_the_domain_of_its_transform_fails_its_group_alone(tmp_path: Path) -> None:
    rows = table(["a", "b", "bad", "c"])
    positive = np.exp(rows["a"].to_numpy())
    pq.write_table(with_column(rows, "a", np.where(np.arange(32) == 19, 0.0, positive)), tmp_path / "t.parquet")
    features = [{"name": "a", "transform": "log10"}, "b"]
    found = documents_of(train_groups(job_of("t.parquet", features, target="y", group_by="key"), tmp_path))
    assert [name for name, document in found.items() if document["status"] == "failed"] == ["bad"]
    assert "row 20" in found["bad"]["reason"]


def test_bad_cell_of_a_csv_is_named_by_its_line(tmp_path: Path) -> None:
    rows = table(["a", "b", "bad", "c"])
    with_column(rows, "b", one(rows["b"], None)).to_pandas().to_csv(tmp_path / "t.csv", index=False)
    found = documents_of(train_groups(job_of("t.csv", ["a", "b"], target="y", group_by="key"), tmp_path))
    assert "t.csv:21: column 'b': '' is missing" in found["bad"]["reason"]


def test_group_without_a_value_of_a_filled_feature_fails_alone(tmp_path: Path) -> None:
    rows = table(["a", "bad", "b"])
    rows = with_column(
        rows, "a", [None if key == "bad" else 1.0 / (at + 1) for at, key in enumerate(rows["key"].to_pylist())]
    )
    pq.write_table(rows, tmp_path / "t.parquet")
    features = [{"name": "a", "missing": "mean"}, "b"]
    found = documents_of(train_groups(job_of("t.parquet", features, target="y", group_by="key"), tmp_path))
    assert [name for name, document in found.items() if document["status"] == "failed"] == ["bad"]
    assert found["bad"]["reason"] == "column 'a' has no value in the rows that train: remove it from 'features'"


def test_groups_whose_feature_has_the_name_of_a_level_fail(tmp_path: Path) -> None:
    rows = table(["a", "b"]).append_column("c", [["x", "y"] * 8]).append_column("c=y", [[*range(16)]])
    pq.write_table(rows, tmp_path / "t.parquet")
    features = ["a", {"name": "c", "kind": "categorical"}, "c=y"]
    found = documents_of(train_groups(job_of("t.parquet", features, target="y", group_by="key"), tmp_path))
    reasons = {document["reason"] for document in found.values()}
    assert reasons == {"the column 'c=y' is both a feature and a level of another: rename one"}


def test_bad_group_is_named_whatever_the_name_of_a_feature(tmp_path: Path) -> None:
    rows = table(["a", "bad"]).rename_columns(["{a}", "b", "y", "key"])
    pq.write_table(with_column(rows, "{a}", np.where(np.arange(16) >= 8, 5.0, rows["{a}"])), tmp_path / "t.parquet")
    found = documents_of(train_groups(job_of("t.parquet", ["{a}"], target="y", group_by="key"), tmp_path))
    assert "column '{a}' is 5 in every row that trains" in found["bad"]["reason"]


def test_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset 'sites': t\.parquet: the table is empty"):
        train(table(["a"]).slice(0, 0), tmp_path)


def test_missing_key_column_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MissingColumnError, match=r"t\.parquet: column 'keys' is missing; found .*did you mean 'key'"):
        train(table(["a"]), tmp_path, group_by="keys")
