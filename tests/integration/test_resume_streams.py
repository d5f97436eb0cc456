"""A dataset that is streamed goes on from its checkpoint: in a task that is started again, and in the next run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cluster.tasks import RunLimits
from jobs.config import JobConfig
from jobs.groups.parts import Parts
from jobs.groups.run import train_groups_of
from jobs.progress import Progress
from jobs.recipe import make_recipe, policies_of
from jobs.run import run_job
from jobs.sources.job_datasets import resolve_source
from jobs.trials.earlier_runs import EarlierRuns
from model_store import open_ledger
from model_store.claims.executions import look_up
from model_store.objects.s3_settings import S3Settings
from tests.integration.test_resume_checkpoints import KINDS, SPLITS, DiedError, die_in_epoch
from tests.servers.inline_cluster import InlineCluster

LARGE = 600_000  # rows of 32 bytes: more than a quarter of the least memory of a task


class Stream:
    """A dataset of a folder, and a store for each name."""

    def __init__(self, folder: Path, num_rows: int) -> None:
        self.folder = folder
        generator = np.random.default_rng(0)
        x_n3 = generator.normal(size=(num_rows, 3))
        y_n = x_n3 @ [1.0, -2.0, 0.5] + 0.5 + 0.1 * generator.normal(size=num_rows)
        columns = {name: x_n3[:, at] for at, name in enumerate("uvw")} | {"y": y_n}
        pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=num_rows // 4)

    def config(self, validation: Any = None, **training: Any) -> JobConfig:
        dataset = {"name": "rows", "source": "rows.parquet", "target": "y", "features": ["u", "v", "w"]}
        every_epoch = {"epochs": 7, "eval_epochs": 5, "memory_mb": 64, "checkpoint_every_s": 1e-9, "max_failures": 1}
        return JobConfig.model_validate(
            {
                "name": "rows",
                "datasets": [{**dataset, "validation": validation}],
                # The last rate diverges on the way: the grid that goes on is smaller than the one that began.
                "grid": {"learning_rate": [0.01, 0.05, 30.0]},
                "training": {"batch_size": 8, **every_epoch, **training},
            }
        )

    def train(self, config: JobConfig, cluster: InlineCluster, store: str) -> None:
        """Train the dataset as one that is streamed, however small it is."""
        (spec,) = config.datasets
        ledger = open_ledger(str(self.folder / store))
        runs = EarlierRuns(ledger, look_up(ledger.objects, config.name, "job", "run"))
        source = resolve_source(spec, self.folder, S3Settings())
        parts = Parts(source, make_recipe(config), policies_of(config)[spec.name], runs)
        limits = RunLimits(checkpoint_every_s=config.training.checkpoint_every_s)
        train_groups_of(lambda: cluster, parts, limits, Progress(quiet=True))  # type: ignore[arg-type, return-value]

    def run(self, config: JobConfig, store: str = "store") -> None:
        run_job(config, self.folder, open_ledger(str(self.folder / store)), progress=Progress(quiet=True))

    def stored(self, what: str, store: str = "store") -> list[bytes]:
        """Return the objects of a store: its `parts`, or its `checkpoints`."""
        paths = sorted((self.folder / store / "runs").glob(f"*/{what}/**/*"))
        return [path.read_bytes() for path in paths if path.is_file()]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", KINDS)
def test_stream_that_is_stopped_ends_as_the_undisturbed_one(
    tmp_path: Path, inline_cluster: InlineCluster, monkeypatch: pytest.MonkeyPatch, kind: str, split: str
) -> None:
    stream = Stream(tmp_path, 60)
    config = stream.config(SPLITS[split], **KINDS[kind])
    stream.train(config, inline_cluster, "undisturbed")
    epochs = die_in_epoch(monkeypatch, 3, nth=2 if split == "folds" else 1)
    with pytest.raises(DiedError):
        stream.train(config, inline_cluster, "store")
    before = len(epochs)
    stream.train(config, inline_cluster, "store")
    assert epochs[before] == 3  # of the same fit: what came before is in the checkpoint
    assert stream.stored("parts") == stream.stored("parts", "undisturbed")


@pytest.mark.parametrize("lost", ["task", "run"])
def test_large_dataset_goes_on_from_its_checkpoint(
    tmp_path: Path, inline_cluster: InlineCluster, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    stream = Stream(tmp_path, LARGE)
    config = stream.config(batch_size=4096)
    stream.run(config, "undisturbed")
    epochs = die_in_epoch(monkeypatch, 4)
    if lost == "task":
        inline_cluster.lost = (DiedError,)
    else:
        with pytest.raises(DiedError):
            stream.run(config)
    stream.run(config)
    assert epochs == [1, 2, 3, 4, 4, 5, 6, 7]
    assert stream.stored("checkpoints")
    assert stream.stored("parts") == stream.stored("parts", "undisturbed")
