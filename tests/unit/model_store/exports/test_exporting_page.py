"""docs/exporting.md: its programs run, and its reader is the one that exports have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from handler.rows.model_card import Feature, ModelCard
from model_store.exports.exporting import Format, export
from model_store.exports.models_folder import PREDICT
from tests.samples.cards import model_of
from tests.samples.exported import committed, expected

PAGE = (Path(__file__).parents[4] / "docs" / "exporting.md").read_text("utf-8")


def test_page_shows_the_reader() -> None:
    assert f"```python\n{PREDICT.read_text('utf-8')}```" in PAGE


@pytest.mark.parametrize(
    ("form", "dataset", "folder"), [("onnx", "plant_richness", "graph"), ("torch", None, "programs")]
)
def test_page_has_programs_that_run(form: Format, dataset: str | None, folder: str, tmp_path: Path) -> None:
    version = committed(tmp_path, {"plant_richness": model_of(ModelCard("richness", (Feature("area"),)))})
    export(version, dataset, tmp_path / folder, form)
    found = re.search(rf"<!-- runs in {folder} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    command = [sys.executable, "-I", "-c", found[1]]
    done = subprocess.run(command, cwd=tmp_path / folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = expected(version, "plant_richness", [{"area": 3.0}, {"area": 4.5}])
    printed = [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", done.stdout)]
    assert printed[:2] == pytest.approx(wanted, rel=1e-3)
