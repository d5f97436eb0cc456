"""Columns of scanned sources: each group is what it is alone, with every rule for columns and missing cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.config import JobConfig
from jobs.groups.plan import plan_groups
from jobs.recipe import make_recipe
from jobs.sources.job_datasets import resolve_source
from model_store.objects.s3_settings import S3Settings
from tests.samples.group_tables import (
    assert_same_trials,
    documents_of,
    job_of,
    random_groups,
    train_alone,
    train_groups,
    trials_of,
    write_groups,
)

AGE = {"name": "age", "missing": "median"}
SOIL = {"name": "soil", "kind": "categorical", "unseen": "reference"}
DAY = {"name": "day", "kind": "datetime", "origin": "2026-01-01"}
RULES: dict[str, list[Any]] = {
    "median": ["slope", AGE],
    "indicator": ["slope", {"name": "age", "missing": "indicator"}],
    "drop": ["slope", {"name": "age", "missing": "drop"}],
    "products": ["slope", "slope^2", "slope:soil", {"name": "soil", "kind": "categorical", "unseen": "reference"}],
    "hidden factors": ["slope", "area:slope"],
    "dates": ["slope", {**DAY, "parts": ["days", "month"]}],
    "cyclic": ["slope", {**DAY, "parts": ["weekday"], "cyclic": True}],
}


def table_of(num_groups: int, seed: int) -> pa.Table:
    """Return groups with dates and some rows without a target, beside the columns of `random_groups`."""
    table, random = random_groups(num_groups, seed=seed, rows=(20, 40)), np.random.default_rng(seed)
    n = len(table)
    days = np.datetime64("2026-01-01") + random.integers(0, 55, n)
    target = pa.array(np.abs(table["yield"].to_numpy()) + 0.5, mask=random.random(n) < 0.05)
    return table.set_column(4, "yield", target).append_column("day", pa.array(days.astype(str)))


def with_keys(config: JobConfig, **keys: Any) -> JobConfig:
    document = config.model_dump(mode="json", exclude_unset=True)
    document["datasets"][0] |= {"missing_target": "drop", **keys}
    return JobConfig.model_validate(document)


@pytest.mark.parametrize("engine", ["closed_form", "minibatch"])
@pytest.mark.parametrize("validation", [None, {"fraction": 0.25, "seed": 3}, {"folds": 3, "seed": 1}])
@pytest.mark.parametrize("rule", RULES)
def test_groups_are_what_each_is_alone(
    tmp_path: Path, rule: str, validation: dict[str, Any] | None, engine: str
) -> None:
    table = table_of(4, seed=len(rule))
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=50)
    (tmp_path / "alone").mkdir()
    how: dict[str, Any] = {"validation": validation, "engine": engine, "normalize": True, "dtype": "float64"}
    keys = {"target_transform": "log1p" if validation is None else None}
    files = write_groups(table, tmp_path / "alone")
    groups = documents_of(train_groups(with_keys(job_of("all.parquet", RULES[rule], **how), **keys), tmp_path))
    trained = 0
    for name, file in files.items():
        config = with_keys(job_of(file, RULES[rule], group_by=None, **how), **keys)
        alone = train_alone(config, tmp_path / "alone")
        if isinstance(alone, str):
            assert groups[name]["status"] == "failed", alone
            continue
        trained += 1
        assert groups[name]["trials"][0]["coefficients"].keys() == trials_of(alone)[0]["coefficients"].keys()
        assert_same_trials(groups[name]["trials"], trials_of(alone))
        missing = table.filter(pa.compute.equal(table["site"], name))["yield"].null_count
        assert groups[name].get("left_out", {}).get("target missing", 0) == missing
        assert groups[name].get("target_transform") == keys["target_transform"]
    assert trained >= 2


def test_all_columns_of_groups_are_chosen_over_the_whole_source(tmp_path: Path) -> None:
    table = table_of(5, seed=1).drop_columns(["day"])
    table = table.append_column("note", pa.array([f"n{at}" for at in range(len(table))]))
    pq.write_table(table, tmp_path / "all.parquet")
    config = with_keys(job_of("all.parquet", ["*"]), missing_target=None)
    outcome = train_groups(config, tmp_path)
    num_rows = len(table) - table["yield"].null_count
    assert outcome.unused == {"note": f"has {num_rows} levels in {num_rows} rows"}
    assert outcome.num_trained == 5
    source = resolve_source(config.datasets[0], tmp_path, S3Settings())
    plan = plan_groups(source, make_recipe(config))
    assert plan.unused == outcome.unused
    assert plan.left_out == outcome.left_out
    assert sum(counts["target missing"] for counts in plan.left_out.values()) == table["yield"].null_count


def test_a_group_whose_rows_are_all_left_out_fails_with_their_number(tmp_path: Path) -> None:
    table = table_of(3, seed=2)
    lost = pa.compute.equal(table["site"], "site 1")
    target = pa.compute.if_else(lost, None, table["yield"])
    pq.write_table(table.set_column(4, "yield", target), tmp_path / "all.parquet")
    found = documents_of(train_groups(with_keys(job_of("all.parquet", ["slope"])), tmp_path))
    count = pa.compute.sum(lost).as_py()
    assert found["site 1"]["reason"].startswith(f"no row is left to train: {count} for target missing")
    assert found["site 1"]["left_out"] == {"target missing": count}
    assert found["site 0"]["status"] == "not committed"


def test_a_left_out_row_needs_no_key(tmp_path: Path) -> None:
    table = table_of(3, seed=2)
    total = pa.table(
        {name: pa.array([None], field.type) for name, field in zip(table.column_names, table.schema, strict=True)}
    )
    pq.write_table(pa.concat_tables([table, total]), tmp_path / "all.parquet")
    found = documents_of(train_groups(with_keys(job_of("all.parquet", ["slope"])), tmp_path))
    assert sorted(found) == ["site 0", "site 1", "site 2"]


def test_rare_levels_of_groups_are_counted_over_the_source(tmp_path: Path) -> None:
    table = table_of(4, seed=3)
    soil = ["chalk" if at == 3 else value for at, value in enumerate(table["soil"].to_pylist())]
    pq.write_table(table.set_column(2, "soil", pa.array(soil)), tmp_path / "all.parquet")
    rule = {"name": "soil", "kind": "categorical", "min_count": 3}
    outcome = train_groups(with_keys(job_of("all.parquet", ["slope", rule])), tmp_path)
    cards = [batch.challengers.stack.card for batch in outcome.batches]
    assert outcome.num_trained == 4
    assert any("(other)" in card.features[1].levels for card in cards)
    assert {level for card in cards for level in card.features[1].levels} == {"(other)", "clay", "loam", "peat", "sand"}
