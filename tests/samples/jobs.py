"""Small jobs over datasets of a folder, in a store beside them."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np

from jobs.config import JobConfig
from jobs.progress import Progress
from jobs.reports.outcome import JobOutcome
from jobs.run import run_job
from jobs.trials.serialization import read_trials
from model_store import open_ledger
from model_store.ledger.ledger import Ledger
from tests.servers.stores import Place

RATES = (0.01, 0.05)


class Jobs:
    """Jobs over datasets `a`, `b`, … of a folder, in a store beside them or at `place`."""

    def __init__(self, folder: Path, num_datasets: int, place: Place | None = None) -> None:
        self.folder = folder
        self.place = place
        folder.mkdir(exist_ok=True)
        letters = string.ascii_lowercase
        self.names = [a + b for a in ("", *letters) for b in letters][:num_datasets]
        for seed, name in enumerate(self.names):
            self.write(name, seed)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.place.open()) if self.place else open_ledger(str(self.folder / "store"))

    def write(self, name: str, seed: int) -> None:
        generator = np.random.default_rng(seed)
        x_n2 = generator.normal(size=(40, 2))
        y_n = x_n2 @ [1.0, -2.0] + 0.5 + 0.1 * generator.normal(size=40)
        rows = "\n".join(f"{x[0]!r},{x[1]!r},{y!r}" for x, y in zip(x_n2.tolist(), y_n.tolist(), strict=True))
        (self.folder / f"{name}.csv").write_text(f"u,v,y\n{rows}\n")

    def config(self, rates: Any = RATES, validation: Any = None, training: Any = None, **grid: Any) -> JobConfig:
        datasets = [
            {"name": n, "source": f"{n}.csv", "target": "y", "features": ["u", "v"], "validation": validation}
            for n in self.names
        ]
        return JobConfig.model_validate(
            {
                "name": "fruit",
                "datasets": datasets,
                "grid": {"learning_rate": rates, **grid},
                "training": {"epochs": 50, **(training or {})},
            }
        )

    def run(self, config: JobConfig, **options: Any) -> JobOutcome:
        return run_job(config, self.folder, self.ledger, progress=Progress(quiet=True), **options)

    def checkpoints(self) -> dict[str, str]:
        return {row["dataset"]: row["checkpoint"] for row in self.ledger.version("fruit").table().to_pylist()}

    def stored(self) -> dict[str, bytes]:
        root = self.folder / "store" / "runs"
        return {path.name: path.read_bytes() for path in root.glob("*/blocks/*")}

    def stored_keys(self) -> list[bytes]:
        groups = [group for data in self.stored().values() for group in read_trials(data.partition(b"\n")[2])]
        return [key for group in groups for keys in group.keys for key in keys]
