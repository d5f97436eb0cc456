"""A dataset of a configuration as plain values, and the files that it names: they are found once a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from handler.model_card import Feature
from jobs.errors import DataError, SourceError
from jobs.sources.columns import Fragment
from jobs.sources.file_stamps import Stamp, file_stamps
from jobs.sources.validation_split import Split
from model_store.objects.s3_settings import S3Settings


@dataclass(frozen=True)
class ResolvedSource:
    """What a dataset is read from, and how.

    `features` are as the model card has them, their levels not yet known; `split` says which rows validate (None: all
    rows train). `described` is what the configuration says of it as canonical JSON: equal ones give equal text.
    """

    name: str
    described: str
    locations: tuple[str, ...]
    target: str
    features: tuple[Feature, ...]
    group_by: tuple[str, ...]
    split: Split | None
    fragments: tuple[Fragment, ...]
    s3: S3Settings

    @cached_property
    def stamps(self) -> list[Stamp]:
        """What the file system says of each file, asked once."""
        return file_stamps(self.fragments, self.s3)

    @property
    def size_bytes(self) -> int:
        return sum(fragment.size_bytes for fragment in self.fragments)


@contextmanager
def dataset_in_errors(dataset: str) -> Iterator[None]:
    """Put the dataset's name before what is said of its data."""
    try:
        yield
    except (DataError, SourceError) as exc:
        raise type(exc)(f"dataset {dataset!r}: {exc}") from exc
