"""The datasets of a job, read into memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jobs.config import DatasetConfig, JobConfig
from jobs.sources.dataset import Dataset, read_dataset
from model_store.objects.s3_settings import S3Settings


def read_datasets(config: JobConfig, base: Path, wanted: Sequence[DatasetConfig] | None = None) -> list[Dataset]:
    """Return the datasets of a job, or those wanted. Raises DataError at the first that can't be regressed on."""
    s3 = S3Settings.from_environment(os.environ)
    specs = config.datasets if wanted is None else wanted
    training, in_batches = config.training, config.training.batch_size != "full"
    return [read_dataset(spec, bias=training.bias, folder=base, s3=s3, in_canonical_order=in_batches) for spec in specs]
