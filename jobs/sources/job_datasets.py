"""Resolve the datasets of a configuration: find their files once, and read those that fit into memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from handler.errors import GridlineError
from jobs.config import DatasetConfig, JobConfig, TrainingConfig
from jobs.errors import ConfigError, DataError, SourceError, error_of_all, one_line
from jobs.recipe import Recipe, make_recipe
from jobs.sources.dataset import Dataset, read_dataset, wanted_columns
from jobs.sources.delimited import Delimited
from jobs.sources.feature_rules import named_kind, needs_columns, rule_of
from jobs.sources.fragments import find_fragments
from jobs.sources.names import check_names
from jobs.sources.read_options import read_options
from jobs.sources.resolved import ResolvedSource, dataset_in_errors
from jobs.sources.row_weights import RowWeights
from jobs.sources.validation_split import Split
from model_store.objects.s3_settings import S3Settings


@dataclass(frozen=True)
class ReadDatasets:
    """The datasets in memory, and the errors of those that can't be used, by name."""

    datasets: tuple[Dataset, ...]
    bad: Mapping[str, GridlineError]


@dataclass(frozen=True)
class ResolvedJob:
    """How a job trains; the datasets that it reads into memory, those that it reads by scans, and the bad ones.

    `bad` has the error of each dataset whose files can't be found, by name.
    """

    recipe: Recipe
    listed: tuple[ResolvedSource, ...]
    scanned: tuple[ResolvedSource, ...]
    bad: Mapping[str, GridlineError]

    def read(self) -> ReadDatasets:
        """Return the listed datasets that can be regressed on, and the errors of all that can't be used.

        Raises the errors of all datasets, if none can be used and none is scanned.
        """
        settings, datasets, bad = self.recipe.settings, list[Dataset](), dict(self.bad)
        how = {"bias": settings.bias, "ridge": self.recipe.ridge, "in_canonical_order": settings.batch_size is not None}
        for source in self.listed:
            with collecting(bad, source.name):
                datasets.append(read_dataset(source, **how))
        if not datasets and not self.scanned:
            raise error_of_all(list(bad.values()))
        return ReadDatasets(tuple(datasets), bad)


def resolve_job(config: JobConfig, base: Path) -> ResolvedJob:
    """Return the recipe of a job and its datasets; relative sources are looked for beside `base`.

    Raises ConfigError if a setting has no effect on a dataset, and the errors of all datasets, if none has files.
    """
    recipe, (sources, bad) = make_recipe(config), _resolve_all(config, base)
    scanned = []
    for source in (source for source in sources if _is_scanned(source, recipe)):
        _require_heeded(config.training, source)
        with collecting(bad, source.name):
            require_columns(source)
            scanned.append(source)
    listed = tuple(source for source in sources if source not in scanned and source.name not in bad)
    if not listed and not scanned:
        raise error_of_all(list(bad.values()))
    return ResolvedJob(recipe, listed, tuple(scanned), bad)


def read_datasets(config: JobConfig, base: Path) -> list[Dataset]:
    """Return all datasets of a job in memory, whatever their size. Raises the errors of all that can't be used."""
    read = read_in_memory(config, base)
    require_none(read.bad)
    return list(read.datasets)


def read_in_memory(config: JobConfig, base: Path) -> ReadDatasets:
    """Return the datasets of a job in memory, whatever their size. Raises the errors of all, if none can be used."""
    sources, bad = _resolve_all(config, base)
    return ResolvedJob(make_recipe(config), tuple(sources), (), bad).read()


def require_none(bad: Mapping[str, GridlineError]) -> None:
    """Raise the errors of the datasets that can't be used, if there are any."""
    if bad:
        raise error_of_all(list(bad.values()))


def require_columns(source: ResolvedSource) -> None:
    """Raise DataError if the first file of a source lacks a column: that is known before a cluster is joined."""
    wanted = wanted_columns(source.features, source.target, source.group_by, source.weights)
    for first in source.fragments[:1]:
        with dataset_in_errors(source.name):
            if isinstance(first.format, Delimited):
                first.format.require(first.location, wanted, source.s3)
            else:
                check_names(first.location, first.format.column_names(first.location, source.s3), wanted)


def reason_of(name: str, error: Exception) -> str:
    """Return why a dataset failed, for a line that begins with its name."""
    return one_line(error).removeprefix(f"dataset {name!r}: ")


def resolve_source(dataset: DatasetConfig, base: Path, s3: S3Settings) -> ResolvedSource:
    """Return a dataset of a configuration as plain values. Raises DataError if it has no file."""
    rule, options = dataset.validation, read_options(dataset)
    rules = tuple(map(rule_of, dataset.features))
    chosen_later = needs_columns(rules)
    with dataset_in_errors(dataset.name):
        fragments = find_fragments(dataset.source, file_format=dataset.format, options=options, folder=base, s3=s3)
    return ResolvedSource(
        name=dataset.name,
        described=dataset.model_dump_json(),
        locations=dataset.source,
        target=dataset.target,
        features=() if chosen_later else tuple(rule.feature(rule.name, named_kind(rule)) for rule in rules),
        group_by=dataset.group_by,
        prefix=dataset.prefix or "",
        split=Split(rule.seed, rule.fraction, rule.folds) if rule else None,
        fragments=fragments,
        s3=s3,
        options=options,
        rules=rules if chosen_later else (),
        min_counts={} if chosen_later else {rule.name: rule.min_count for rule in rules if rule.min_count},
        target_transform=dataset.target_transform,
        missing_target=dataset.missing_target or ("drop" if any(rule.is_pattern for rule in rules) else "error"),
        weights=RowWeights(dataset.weights, dataset.weights_kind) if dataset.weights is not None else None,
    )


def _resolve_all(config: JobConfig, base: Path) -> tuple[list[ResolvedSource], dict[str, GridlineError]]:
    """Return the datasets whose files are found, and the errors of the others."""
    s3 = S3Settings.from_environment(os.environ, config.retry_s)
    sources, bad = list[ResolvedSource](), dict[str, GridlineError]()
    for dataset in config.datasets:
        with collecting(bad, dataset.name):
            sources.append(resolve_source(dataset, base, s3))
    return sources, bad


@contextmanager
def collecting(bad: dict[str, GridlineError], name: str) -> Iterator[None]:
    """Put the error of a dataset among the `bad` ones."""
    try:
        yield
    except (DataError, SourceError) as exc:
        bad[name] = exc


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
