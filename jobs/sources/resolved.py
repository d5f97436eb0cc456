"""A dataset of a configuration as plain values, with its files, which a job finds once."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from handler.rows.model_card import Feature, ModelCard, Term
from handler.rows.transforms import TargetTransform
from jobs.errors import DataError, SourceError
from jobs.sources.columns import Fragment
from jobs.sources.feature_rules import FeatureRule
from jobs.sources.filesystems import S3_PREFIX, stamps_of
from jobs.sources.read_options import DEFAULTS, ReadOptions
from jobs.sources.row_weights import RowWeights
from jobs.sources.validation_split import Split
from model_store.objects.s3_settings import S3Settings

Stamp = tuple[str, int, int, int]


@dataclass(frozen=True)
class ResolvedSource:
    """The files of a dataset, and how they are read.

    `features` are those of the model card, still without levels; `split` decides which rows validate (None: all rows
    train). `described` is the configuration of the dataset as canonical JSON: equal ones give equal text.
    As long as there are `rules`, the columns are not known: `choosing.choose_columns` finds them, and gives in `unused`
    the reasons of those that it leaves out. `min_counts` are the fewest rows of a level, by feature.
    """

    name: str
    described: str
    locations: tuple[str, ...]
    target: str
    features: tuple[Feature, ...]
    group_by: tuple[str, ...]
    prefix: str
    split: Split | None
    fragments: tuple[Fragment, ...]
    s3: S3Settings
    options: ReadOptions = DEFAULTS
    rules: tuple[FeatureRule, ...] = ()
    terms: tuple[Term, ...] = ()
    min_counts: Mapping[str, int] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
    target_transform: TargetTransform | None = None
    missing_target: Literal["error", "drop"] = "error"
    weights: RowWeights | None = None

    @property
    def target_feature(self) -> Feature:
        """The target, as checks of cells see it."""
        return Feature(self.target, transform=self.target_transform, missing=self.missing_target)

    def card(self, *, bias: bool) -> ModelCard:
        """Return the model card without levels."""
        key, prefix = self.group_by, self.prefix
        return ModelCard(self.target, self.features, bias, key, prefix, self.terms, self.target_transform)

    @cached_property
    def stamps(self) -> list[Stamp]:
        """Location, size and times of change of each file: a file that is written again has another stamp.

        Of a local file also the time at which its entry changed, which can't be set back as the time of writing can.
        """
        locations = sorted({fragment.location for fragment in self.fragments})
        remote = [location for location in locations if location.startswith(S3_PREFIX)]
        local = [(location, Path(location).stat()) for location in locations if not location.startswith(S3_PREFIX)]
        stamps = [(location, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for location, each in local]
        if remote:
            stamps += [(*stamp, 0) for stamp in stamps_of(remote, self.s3)]
        return stamps

    @property
    def size_bytes(self) -> int:
        return sum(fragment.size_bytes for fragment in self.fragments)


def require_same_files(fragments: Sequence[Fragment], s3: S3Settings) -> None:
    """Raise DataError if a local file of text is not as long as the driver found it: a node may have another one.

    A parquet file shows it by its row groups.
    """
    for fragment in fragments:
        if fragment.num_rows is not None or fragment.location.startswith(S3_PREFIX):
            continue
        with suppress(OSError):  # reading it says what is wrong
            size_bytes = Path(fragment.location).stat().st_size
            [here] = fragment.format.fragments(fragment.location, size_bytes, s3)
            if here.size_bytes != fragment.size_bytes:
                raise DataError(
                    f"{fragment.location}: the file on node '{socket.gethostname()}' has another length than where the "
                    "job began: copy it, or start again if it changed meanwhile"
                )


@contextmanager
def dataset_in_errors(dataset: str) -> Iterator[None]:
    """Put the name of the dataset before the errors of its data."""
    try:
        yield
    except (DataError, SourceError) as exc:
        raise type(exc)(f"dataset {dataset!r}: {exc}") from exc
