"""Resolve the datasets of a configuration: find their files once, and read those that fit into memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from handler.model_card import Feature
from jobs.config import DatasetConfig, JobConfig, TrainingConfig
from jobs.errors import ConfigError
from jobs.recipe import Recipe, make_recipe
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.fragments import find_fragments
from jobs.sources.resolved import ResolvedSource, dataset_in_errors
from jobs.sources.validation_split import Split
from model_store.objects.s3_settings import S3Settings


@dataclass(frozen=True)
class ResolvedJob:
    """How a job trains; the datasets that it reads into memory, and those that it reads by scans."""

    recipe: Recipe
    listed: tuple[ResolvedSource, ...]
    scanned: tuple[ResolvedSource, ...]

    def read(self) -> list[Dataset]:
        """Return the listed datasets. Raises DataError at the first that can't be regressed on."""
        settings = self.recipe.settings
        in_batches = settings.batch_size is not None
        return [read_dataset(each, bias=settings.bias, in_canonical_order=in_batches) for each in self.listed]


def resolve_job(config: JobConfig, base: Path) -> ResolvedJob:
    """Return the recipe of a job and its datasets; relative sources are looked for beside `base`.

    Raises ConfigError if a setting has no effect on a dataset, and DataError if a source has no file.
    """
    recipe, sources = make_recipe(config), _resolve_all(config, base)
    scanned = tuple(source for source in sources if _is_scanned(source, recipe))
    for source in scanned:
        _require_heeded(config.training, source)
    return ResolvedJob(recipe, tuple(source for source in sources if source not in scanned), scanned)


def read_datasets(config: JobConfig, base: Path) -> list[Dataset]:
    """Return all datasets of a job in memory, whatever their size. Raises DataError at the first that can't be read."""
    return ResolvedJob(make_recipe(config), tuple(_resolve_all(config, base)), ()).read()


def resolve_source(dataset: DatasetConfig, base: Path, s3: S3Settings) -> ResolvedSource:
    """Return a dataset of a configuration as plain values. Raises DataError if it has no file."""
    rule = dataset.validation
    with dataset_in_errors(dataset.name):
        fragments = find_fragments(
            dataset.source, file_format=dataset.format, delimiter=dataset.delimiter, folder=base, s3=s3
        )
    return ResolvedSource(
        name=dataset.name,
        described=dataset.model_dump_json(),
        locations=dataset.source,
        target=dataset.target,
        features=tuple(Feature(f.name, f.kind, f.transform, f.missing, unseen=f.unseen) for f in dataset.features),
        group_by=dataset.group_by,
        split=Split(rule.seed, rule.fraction, rule.folds) if rule else None,
        fragments=fragments,
        s3=s3,
    )


def _resolve_all(config: JobConfig, base: Path) -> list[ResolvedSource]:
    s3 = S3Settings.from_environment(os.environ)
    return [resolve_source(dataset, base, s3) for dataset in config.datasets]


def _is_scanned(source: ResolvedSource, recipe: Recipe) -> bool:
    """Return whether a dataset is read by scans: it is grouped, or takes more memory than a task has."""
    if source.group_by:
        return True
    if recipe.engine == "minibatch" and recipe.size.num_workers > 1:
        return False  # the ranks hold the rows
    return source.size_bytes > recipe.memory_mb * 2**20 // 4


def _require_heeded(training: TrainingConfig, source: ResolvedSource) -> None:
    """Raise ConfigError if a setting has no effect on a streamed dataset; groups are checked before."""
    for key in () if source.group_by else training.settings_of_datasets_in_memory():
        if key != "checkpoint_every_s":
            raise ConfigError(
                f"training.{key}: {getattr(training, key)} has no effect on dataset {source.name!r}, which takes more "
                f"than a quarter of memory_mb = {training.memory_mb}: remove it, or raise 'training.memory_mb'"
            )
