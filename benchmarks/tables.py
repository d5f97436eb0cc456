"""Large tables in parquet, written a stretch at a time: groups with a plane each, and one dataset of many rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 1 << 18
RATES = [float(rate) for rate in np.logspace(-3, -0.5, 16)]
NUM_FEATURES = 4


def write_groups(path: Path, num_groups: int, rows_each: int, *, seed: int = 0) -> Path:
    """Write the rows of the groups in random order, each group spread over all row groups; return the path."""
    random = np.random.default_rng(seed)
    weight_md = random.normal(size=(num_groups, NUM_FEATURES))
    code_n = random.permutation(np.repeat(np.arange(num_groups), rows_each))
    with pq.ParquetWriter(path, _schema(NUM_FEATURES, "float64", key=True)) as writer:
        for start in range(0, len(code_n), ROW_GROUP):
            code_b = code_n[start : start + ROW_GROUP]
            x_bd = random.normal(size=(len(code_b), NUM_FEATURES))
            y_b = 1 + (x_bd * weight_md[code_b]).sum(1) + random.normal(0, 0.1, len(code_b))
            writer.write_table(_table(x_bd, y_b, key=code_b), row_group_size=ROW_GROUP)
    return path


def write_rows(path: Path, num_rows: int, num_features: int, *, seed: int = 0) -> Path:
    """Write one dataset of float32, and return the path."""
    random = np.random.default_rng(seed)
    weight_d = random.normal(size=num_features).astype(np.float32)
    with pq.ParquetWriter(path, _schema(num_features, "float32", key=False), compression="none") as writer:
        for start in range(0, num_rows, ROW_GROUP):
            n = min(ROW_GROUP, num_rows - start)
            x_nd = random.standard_normal((n, num_features), dtype=np.float32)
            y_n = x_nd @ weight_d + random.standard_normal(n, dtype=np.float32)
            writer.write_table(_table(x_nd, y_n), row_group_size=ROW_GROUP)
    return path


def _schema(num_features: int, dtype: str, *, key: bool) -> pa.Schema:
    kind = pa.from_numpy_dtype(dtype)
    names = [*(f"x{number}" for number in range(num_features)), "y"]
    return pa.schema([(name, kind) for name in names] + ([("key", pa.int64())] if key else []))


def _table(x_nd: np.ndarray, y_n: np.ndarray, key: np.ndarray | None = None) -> pa.Table:
    columns = {f"x{number}": np.ascontiguousarray(column) for number, column in enumerate(x_nd.T)} | {"y": y_n}
    return pa.table(columns | ({} if key is None else {"key": key}))


def job(source: Path, num_features: int, *, grouped: bool, validation: Any = "none", **training: Any) -> Path:
    """Write the configuration of a job over a table beside it, and return its path."""
    dataset = {
        "name": "table",
        "source": str(source),
        "target": "y",
        "features": [f"x{number}" for number in range(num_features)],
        "validation": validation,
    }
    document = {
        "name": "bench",
        "datasets": [dataset | ({"group_by": "key"} if grouped else {})],
        "grid": {"learning_rate": RATES},
        "training": {"epochs": 1000, **training},
    }
    path = source.with_suffix(f".{'full' if 'batch_size' not in training else 'minibatch'}.json")
    path.write_text(json.dumps(document))
    return path
