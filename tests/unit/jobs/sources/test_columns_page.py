"""Every example of docs/columns.md is read, with a file that has its columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from jobs.config import DatasetConfig
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.job_datasets import resolve_source
from model_store.objects.s3_settings import S3Settings

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "columns.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COLUMNS = {
    "all": ["area", "rooms", "garden", "sold", "district=south", "heating=gas", "heating=oil", "heating=wood"],
    '"*"': ["area", "rooms", "garden", "sold", "district=south"],
    "{all: numeric}": ["area", "rooms", "garden", "district=south"],
    "[days, month]": ["area", "sold", "sold.month=02"],
    "cyclic": ["area", "sold.weekday.sin", "sold.weekday.cos", "sold.hour.sin", "sold.hour.cos"],
    "area^2": ["area", "district=south", "area^2", "area:district=south"],
    "indicator": ["area", "heating=(other)", "heating=gas", "heating=oil"],
    "target_transform": ["area", "rooms"],
}


def read(example: str, folder: Path) -> Dataset:
    rows = [
        f"h{at},{50 + at * at % 37},{1 + at % 4},{'yes' if at % 3 else 'no'},"
        f"2026-{1 + at // 28:02d}-{1 + at % 28:02d}T{at % 24:02d}:00,{'north' if at % 2 else 'south'},"
        f"{['gas', '', 'oil', 'gas'][at % 4] if at != 2 else 'wood'},{100 + at * at % 51}"
        for at in range(56)
    ]
    (folder / "houses.csv").write_text("\n".join(["id,area,rooms,garden,sold,district,heating,price", *rows]))
    config = {"name": "houses", "source": "houses.csv", "target": "price", **yaml.safe_load(example)}
    return read_dataset(resolve_source(DatasetConfig.model_validate(config), folder, S3Settings()), bias=True)


def test_the_page_has_the_examples_of_this_test() -> None:
    assert len(EXAMPLES) == len(COLUMNS)


@pytest.mark.parametrize(("key", "example"), list(zip(COLUMNS, EXAMPLES, strict=True)))
def test_an_example_gives_its_columns(tmp_path: Path, key: str, example: str) -> None:
    assert key in example
    assert sorted(read(example, tmp_path).card.columns) == sorted(COLUMNS[key])
