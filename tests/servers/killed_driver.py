"""A job whose driver is killed at random moments, and run again until it is done."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jobs.groups.stored import part_of_bytes
from jobs.trials.serialization import read_trials
from model_store import open_ledger
from tests.servers.stores import ROOT

NUM_DATASETS, NUM_RATES = 20, 8


@dataclass
class KilledDriver:
    """Runs the same job by the command line, on a cluster that outlives it, into stores of a folder.

    `training` is what is set beyond a job of many short blocks. With `num_sources` the datasets are the groups of so
    many sources.
    """

    folder: Path
    address: str
    generator: random.Random
    num_datasets: int = NUM_DATASETS
    training: Mapping[str, Any] = field(default_factory=dict)
    num_sources: int = 0
    num_kills: int = 0
    num_goings_on: int = 0  # runs that found some of their trials, and not all
    seconds: float = 0.0
    champions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = self.folder / "job.yaml"
        self.config.write_text(json.dumps(self._job()))  # JSON is YAML

    def _job(self) -> dict[str, object]:
        names = [f"d{number:02d}" for number in range(self.num_datasets)]
        for number, name in enumerate(names):
            x_n2 = np.random.default_rng(number).normal(size=(500, 2))
            y_n = x_n2 @ [1.0, -2.0] + number
            rows = zip(x_n2.tolist(), y_n.tolist(), strict=True)
            folder = self.folder / (f"s{number % self.num_sources}" if self.num_sources else "listed")
            folder.mkdir(exist_ok=True)
            lines = [f"{u!r},{v!r},{y!r},{name}" for (u, v), y in rows]
            (folder / f"{name}.csv").write_text("\n".join(["u,v,y,key", *lines, ""]))
        like: dict[str, Any] = {"target": "y", "features": ["u", "v"]}
        datasets = [like | {"name": name, "source": f"listed/{name}.csv"} for name in names]
        training = {"engine": "minibatch", "epochs": 600}
        if self.num_sources:
            like |= {"group_by": "key"}
            datasets = [like | {"name": f"s{at}", "source": f"s{at}"} for at in range(self.num_sources)]
        else:
            training |= {"checkpoint_every_s": 0.05}
        training |= self.training
        rates = [0.001 * 2**power for power in range(NUM_RATES)]
        return {"name": "many", "datasets": datasets, "grid": {"learning_rate": rates}, "training": training}

    def run_undisturbed(self) -> None:
        """Run the job once; keep its champions, and how many seconds it took."""
        store, started = self.folder / "undisturbed", time.monotonic()
        process = self.start(store)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        document = json.loads(output)
        assert (document["computed"], document["reused"]) == (self.num_datasets * NUM_RATES, 0)
        self.seconds, self.champions = time.monotonic() - started, champions(store)
        assert len(self.champions) == self.num_datasets

    def run_until_done(self, store: Path, max_kills: int) -> None:
        """Start the job, and kill it after a random part of its time, up to so often, until it ends by itself."""
        last = self.num_kills + max_kills
        while True:
            num_stored = sum(1 for _ in stored_keys(store)) + num_stored_in_parts(store)
            self.num_goings_on += 0 < num_stored < self.num_datasets * NUM_RATES
            process = self.start(store)
            moment = self.generator.uniform(0.2, 1.0) * self.seconds if self.num_kills < last else None
            try:
                output, errors = process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.num_kills += 1
                assert self.half_done(store) is None
            else:
                assert process.returncode == 0, errors
                document, total = json.loads(output), self.num_datasets * NUM_RATES
                assert (document["computed"], document["reused"]) == (total - num_stored, num_stored)
                return

    def half_done(self, store: Path) -> str | None:
        """Return what a reader would see of a commit that is not whole, or None."""
        ledger = open_ledger(str(store))
        if ledger.head("many") is None:
            return None
        problems = ledger.verify("many")
        return str(problems[0]) if problems else None

    def start(self, store: Path) -> subprocess.Popen[str]:
        """Start the job."""
        command = [sys.executable, "-m", "jobs", "train", str(self.config), "--store", str(store), "--json"]
        return subprocess.Popen(
            [*command, "--address", self.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )


def champions(store: Path) -> dict[str, str]:
    """Return the checkpoint of each dataset's champion."""
    return {row["dataset"]: row["checkpoint"] for row in open_ledger(str(store)).version("many").table().to_pylist()}


def num_stored_in_parts(store: Path) -> int:
    """Return the number of trials in the parts of groups that were stored."""
    stored = (path.read_bytes().split(b"\n", 2) for path in (store / "runs").glob("*/parts/*/*/*"))
    return sum(len(json.loads(keys)) * part_of_bytes(part, "part").num_datasets for _, keys, part in stored)


def stored_keys(store: Path) -> Iterator[bytes]:
    """Yield the key of every trial that was stored, once for each time."""
    for path in (store / "runs").glob("*/blocks/*"):
        for group in read_trials(path.read_bytes().partition(b"\n")[2]):
            yield from (key for keys in group.keys for key in keys)
