"""The datasets of a job, read into memory."""

from __future__ import annotations

import os
from pathlib import Path

from jobs.config import JobConfig
from jobs.sources.dataset import Dataset, read_dataset
from model_store.s3_settings import S3Settings


def read_datasets(config: JobConfig, base: Path) -> list[Dataset]:
    """Return the datasets of a job. Raises DataError at the first that can't be regressed on."""
    s3 = S3Settings.from_environment(os.environ)
    return [read_dataset(d, bias=config.training.bias, folder=base, s3=s3) for d in config.datasets]
