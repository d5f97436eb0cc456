"""Tables of groups that are all on one plane, and jobs over them as one fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.reports.outcome import JobOutcome

WEIGHTS = {"u": 2.0, "v": -1.0, "intercept": 0.5}


def groups(keys: Sequence[str | None], seed: int = 0, rows_each: int = 12, noise: float = 0.01) -> pa.Table:
    """Return rows of groups that are all on one plane, but for the noise."""
    random = np.random.default_rng(seed)
    n = len(keys) * rows_each
    u, v = random.normal(size=n), random.normal(size=n)
    y = WEIGHTS["u"] * u + WEIGHTS["v"] * v + WEIGHTS["intercept"] + random.normal(0, noise, n)
    return pa.table({"u": u, "v": v, "y": y, "key": pa.array([k for k in keys for _ in range(rows_each)], pa.string())})


def document(source: str, *, rates: Sequence[float] = (0.05, 0.2), **dataset: Any) -> dict[str, Any]:
    fleet = {"name": "sites", "source": source, "target": "y", "features": ["u", "v"], "group_by": "key"}
    return {
        "name": "farms",
        "datasets": [fleet | dataset],
        "grid": {"learning_rate": list(rates)},
        "training": {"epochs": 200},
    }


def statuses(outcome: JobOutcome) -> dict[str, str]:
    return {each["dataset"]: each["status"] for each in outcome.documents()}
