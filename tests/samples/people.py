"""A folder with files as people have them, the command line over it, and what least squares says of the rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.servers.command_line import Answer, run

Json = dict[str, Any]
Row = list[str]


def _rows(num_rows: int = 24) -> list[Row]:
    """Return the cells of a, b and y of each row: y is about 3 + 2a − b/2."""
    random = np.random.default_rng(13)
    a_n, b_n = random.uniform(0.1, 4.0, num_rows).round(2), random.uniform(0.1, 4.0, num_rows).round(2)
    y_n = (3 + 2 * a_n - b_n / 2 + random.normal(0, 0.2, num_rows)).round(3)
    return [[f"{cell}" for cell in row] for row in np.column_stack([a_n, b_n, y_n]).tolist()]


ROWS = _rows()
NUMBERS = np.array(ROWS, dtype=float)


def least_squares(numbers_nq: np.ndarray) -> list[float]:
    """Return the intercept and the weights of the columns before the last, which is predicted."""
    x_np = np.column_stack([np.ones(len(numbers_nq)), numbers_nq[:, :-1]])
    weights: list[float] = np.linalg.lstsq(x_np, numbers_nq[:, -1], rcond=None)[0].tolist()
    return weights


def text_of(rows: list[Row], delimiter: str = ",", header: str = "a,b,y", end: str = "\n") -> str:
    lines = [header.replace(",", delimiter), *(delimiter.join(row) for row in rows)]
    return end.join(lines) + end


PLAIN = text_of(ROWS)


class Desk:
    """A folder with files, and the command line over it."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capture = folder, capture

    def write(self, name: str, content: str | bytes) -> str:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def run(self, *arguments: str) -> Answer:
        return run(self._capture, *arguments)

    def train(self, *datasets: Json, training: Json | None = None, rates: Any = "auto", **keys: Any) -> Answer:
        """Train datasets that are, unless they say otherwise, y by a and b of data.csv."""
        usual = {"name": "d", "source": "data.csv", "target": "y", "features": ["a", "b"]}
        config = {
            "name": "t",
            "datasets": [usual | dataset for dataset in datasets or ({},)],
            "grid": {"learning_rate": rates},
            "training": training or {},
            **keys,
        }
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(config, allow_unicode=True))
        return self.run("train", str(path), "--store", str(self.folder / "store"), "--json")

    def best(self, *datasets: Json, **keys: Any) -> Json:
        """Train one dataset, which must be promoted, and return its best trial."""
        answer = self.train(*datasets, **keys)
        assert answer.code == 0, answer.err
        [document] = answer.document["datasets"]
        assert document["status"] == "promoted"
        best: Json = document["best"]
        return best

    def predict(self, *arguments: str) -> Answer:
        return self.run("predict", "t", "--store", str(self.folder / "store"), "--json", *arguments)

    def predictions(self, *arguments: str) -> list[float]:
        answer = self.predict(*arguments)
        assert answer.code == 0, answer.err
        found: list[float] = answer.document["predictions"]
        return found


def requires_least_squares(best: Json, expected: list[float], tolerance: float = 1e-6) -> None:
    assert list(best["coefficients"].values()) == pytest.approx(expected, rel=tolerance, abs=tolerance)


def with_cells(column: int, change: Callable[[str], str]) -> list[Row]:
    return [[change(cell) if at == column else cell for at, cell in enumerate(row)] for row in ROWS]


def with_column(cell: Callable[[int], str]) -> list[Row]:
    return [[*row, cell(at)] for at, row in enumerate(ROWS)]


def parquet(desk: Desk, **columns: Any) -> Json:
    """Write a, b and y with other columns, and return the key of the file."""
    plain = {name: NUMBERS[:, at] for at, name in enumerate("aby")}
    pq.write_table(pa.table(plain | columns), desk.folder / "data.parquet")
    return {"source": "data.parquet"}
