"""The code of docs/extending.md runs, and what it adds is used by the whole house."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import feather

from handler.rows.model_card import Feature, ModelCard
from jobs.config import DatasetConfig
from jobs.errors import DataError
from jobs.prediction.input import Reading, opened
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.formats import FORMATS
from jobs.sources.job_datasets import resolve_source
from jobs.sources.read_options import DEFAULTS
from model_store.objects.opening import OPENERS
from model_store.objects.s3_settings import S3Settings
from tests.samples.fleets import commit_models, fitted

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL))


def run(example: str, **names: Any) -> dict[str, Any]:
    """Return the names after the example, which finds `names` there before."""
    exec(compile(EXAMPLES[example], f"{PAGE.name}: {example}", "exec"), names)  # noqa: S102
    return names


def read(folder: Path, source: str) -> Dataset:
    config = {"name": "d", "source": source, "target": "y", "features": ["x"]}
    return read_dataset(resolve_source(DatasetConfig.model_validate(config), folder, S3Settings()), bias=True)


def test_extending_by_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, ".feather", FORMATS[".csv"])  # what the example sets there is undone as well
    run("format")
    for name, last in {"good": 4.0, "bad": None}.items():
        feather.write_feather(pa.table({"x": [1, 2, 3], "y": [1.5, 2.0, last]}), tmp_path / f"{name}.feather")
    (tmp_path / "good.csv").write_text("x,y\n1,1.5\n2,2\n3,4\n")
    assert read(tmp_path, "good.feather").fingerprint == read(tmp_path, "good.csv").fingerprint
    with pytest.raises(DataError, match=r"bad\.feather: row 3: column 'y': nan is missing: fill it"):
        read(tmp_path, "*.feather")
    with opened(str(tmp_path / "good.feather"), Reading("auto", DEFAULTS)) as rows:
        [batch] = rows.batches({}, ["x"])
        assert batch.values(Feature("x")).value_n.tolist() == [1, 2, 3]


def test_extending_by_a_store_and_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPENERS, "memory", OPENERS["file"])
    ledger = run("store")["ledger"]
    model = fitted(ModelCard("y", (Feature("area"),)), 1)
    commit_models(ledger, "plants", {"islands": model})
    ran = run("server", ledger=ledger, folder=tmp_path)
    assert (ran["deployment"].version, ran["deployment"].changed) == (1, True)
    champion = ledger.champion("plants", "islands").coefficients
    expected = champion["intercept"] + 3 * champion["area"]
    assert json.loads(ran["answer"].body)["predictions"] == pytest.approx([expected])
