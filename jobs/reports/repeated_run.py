"""A job that repeats itself: the same configuration over the same files, against the version that it left behind.

Nothing can come of it, so nothing is read again: what the run said of its datasets is kept in its folder, under a key
of the configuration, of what the file system says of each file, and of the commit that was the newest.

    runs/<run_id>/outcomes/<key>.json.zlib    the documents of `train --json`, as a repetition gives them

Not kept are runs with datasets that failed, which are worth another try; with fleets, which have the like of their own;
and with files in a bucket, whose times of change are too coarse.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.champions.selection import Comparison
from jobs.errors import PARTIAL_FAILURE
from jobs.reports.outcome import DatasetOutcome, JobOutcome
from jobs.sources.filesystems import S3_PREFIX
from jobs.sources.resolved import ResolvedSource
from jobs.trials.keys import ENGINE_VERSIONS
from model_store.errors import CorruptObjectError
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version

FORMAT = 1
SETTLED_NS = 100_000_000  # a file that changed less long ago may change again without another time of change


@dataclass(frozen=True)
class Repetition:
    """What a run is known by: `job` is a sha256 of its configuration and files, `before` the version that it found."""

    ledger: Ledger
    job: str
    before: Version | None

    def earlier(self, collection: str, run_id: str) -> JobOutcome | None:
        """Return what the run, or the one that made the newest version, said of the same job; None if neither did."""
        if self.before is None:
            return None
        for candidate in dict.fromkeys([run_id, self.before.run_id or run_id]):
            try:
                data = self.ledger.run(candidate).read(self._name(self.before))
                if data is not None:
                    return _outcome(json.loads(zlib.decompress(data)), collection, run_id, self.before)
            except (CorruptObjectError, zlib.error, ValueError, KeyError, TypeError):
                continue  # then it is found out anew
        return None

    def remember(self, outcome: JobOutcome, head: Version | None) -> None:
        """Keep what a run came to; one that changed nothing writes nothing. `head` is the newest version after it."""
        if not outcome.computed and not outcome.committed:
            return
        if head is None or head.number != outcome.version or outcome.exit_code == PARTIAL_FAILURE:
            return
        if not outcome.committed and (self.before is None or head.commit_id != self.before.commit_id):
            return  # it may have been compared with a version in between
        document = {"num_trials": outcome.computed + outcome.reused, "datasets": _repeated(outcome.datasets)}
        self.ledger.run(outcome.run_id).create(self._name(head), zlib.compress(json.dumps(document).encode(), 1))

    def _name(self, head: Version) -> str:
        return f"outcomes/{hashlib.sha256(f'{self.job} {head.commit_id}'.encode()).hexdigest()}.json.zlib"


def repetition_of(
    configuration: str, sources: Sequence[ResolvedSource], ledger: Ledger, collection: str
) -> Repetition | None:
    """Return what the job of a configuration (as canonical JSON) is known by, before its files are read.

    None where that can't be told from outside.
    """
    if any(location.startswith(S3_PREFIX) for source in sources for location in source.locations):
        return None
    digest = hashlib.sha256(json.dumps([FORMAT, ENGINE_VERSIONS, configuration], sort_keys=True).encode())
    for source in sources:
        if any(max(stamp[2:]) > time.time_ns() - SETTLED_NS for stamp in source.stamps):
            return None
        digest.update(json.dumps(source.stamps).encode())
    return Repetition(ledger, digest.hexdigest(), ledger.head(collection))


def _repeated(outcomes: Sequence[DatasetOutcome]) -> list[dict[str, Any]]:
    """Return the documents that the same run would give again: a model that was promoted is the champion then."""
    return [_repeat(outcome).document() for outcome in outcomes]


def _repeat(outcome: DatasetOutcome) -> DatasetOutcome:
    if outcome.status != "promoted" or outcome.challengers is None:
        return outcome
    score = outcome.challengers.score_m.item()
    itself = Comparison(False, "it is the champion already", "same rows", score, score)
    return replace(outcome, status="kept", comparison=itself)


def _outcome(document: dict[str, Any], collection: str, run_id: str, head: Version) -> JobOutcome:
    return JobOutcome(
        run_id=run_id,
        collection=collection,
        version=head.number,
        committed=False,
        datasets=(),
        reused=int(document["num_trials"]),
        earlier=tuple(document["datasets"]),
    )
