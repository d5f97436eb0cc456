"""A job that repeats an earlier one: the same configuration and files, and the version that the earlier run committed.

It would change nothing, so it reads nothing: the run folder stores the documents of its datasets, under a key of the
configuration, of the size and time of each file, and of the newest commit. It only looks whether the store has the
blobs of their champions.

    runs/<run_id>/outcomes/<key>.json.zlib    the documents of `train --json`, as a repetition gives them

A run does not store them if datasets failed, which are tried again; if it has scanned sources, whose parts are stored;
and if files are in a bucket, whose times of change are too coarse.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.champions.comparison import Comparison
from jobs.champions.documents import comparison_document
from jobs.errors import PARTIAL_FAILURE
from jobs.reports.outcome import JobOutcome
from jobs.sources.filesystems import S3_PREFIX
from jobs.sources.resolved import ResolvedSource
from jobs.trials.keys import ENGINE_VERSIONS
from model_store.claims.executions import Execution
from model_store.errors import CorruptObjectError, MissingObjectError
from model_store.ledger.champion_table import table_blobs
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version
from model_store.objects.blobs import lost_blobs

FORMAT = 1
SETTLED_NS = 100_000_000  # a file that changed less long ago may change again without another time of change


@dataclass(frozen=True)
class Repetition:
    """The key of a run: `job` is a sha256 of its configuration and files, `before` the newest version at its start."""

    ledger: Ledger
    job: str
    before: Version | None

    def earlier(self, execution: Execution) -> JobOutcome | None:
        """Return the outcome that an earlier run has stored for the same job, or None.

        It is the run that is continued, the one that trained last, or that of the newest version.
        """
        if self.before is None:
            return None
        own = None if execution.is_new else execution.run_id
        for candidate in filter(None, dict.fromkeys([own, execution.trained, self.before.run_id])):
            try:
                data = self.ledger.run(candidate).read(self._name(self.before))
                if data is not None:
                    outcome = self._outcome(execution, candidate, json.loads(zlib.decompress(data)))
                    return None if self._lost(outcome.earlier) else outcome
            except (CorruptObjectError, MissingObjectError, zlib.error, ValueError, KeyError, TypeError):
                continue  # then the job runs
        return None

    def _outcome(self, execution: Execution, repeats: str, document: Mapping[str, Any]) -> JobOutcome:
        version, reused = self.before.number if self.before else None, int(document["num_trials"])
        said: dict[str, Any] = {"earlier": tuple(document["datasets"]), "repeats": repeats}
        return JobOutcome(execution.run_id, execution.note.collection, version, reused=reused, **said)

    def _lost(self, earlier: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether a blob of a champion of these datasets is lost: then the job runs, and stores it again."""
        if self.before is None:
            return False
        rows = self.before.rows_of([str(document["dataset"]) for document in earlier])
        return bool(lost_blobs(self.ledger.objects, table_blobs(rows)))

    def remember(self, outcome: JobOutcome, head: Version | None) -> None:
        """Store the outcome of a run, unless it changed nothing. `head` is the newest version after it."""
        if not (outcome.computed or outcome.committed) or outcome.exit_code == PARTIAL_FAILURE:
            return
        if head is None or head.number != outcome.version:
            return
        if not outcome.committed and (self.before is None or head.commit_id != self.before.commit_id):
            return  # it may have been compared with a version in between
        documents = list(map(_repeated, outcome.listed_documents()))
        document = {"num_trials": outcome.computed + outcome.reused, "datasets": documents}
        self.ledger.run(outcome.run_id).create(self._name(head), zlib.compress(json.dumps(document).encode(), 1))

    def _name(self, head: Version) -> str:
        return f"outcomes/{hashlib.sha256(f'{self.job} {head.commit_id}'.encode()).hexdigest()}.json.zlib"


def repetition_of(
    configuration: str, sources: Sequence[ResolvedSource], ledger: Ledger, collection: str
) -> Repetition | None:
    """Return the key of the job of a configuration (as canonical JSON), before its files are read.

    None if the size and time of a file do not show whether it has changed.
    """
    if any(location.startswith(S3_PREFIX) for source in sources for location in source.locations):
        return None
    digest = hashlib.sha256(json.dumps([FORMAT, ENGINE_VERSIONS, configuration], sort_keys=True).encode())
    for source in sources:
        if any(max(stamp[2:]) > time.time_ns() - SETTLED_NS for stamp in source.stamps):
            return None
        digest.update(json.dumps(source.stamps).encode())
    return Repetition(ledger, digest.hexdigest(), ledger.head(collection))


def _repeated(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the document that the same run would give again: a model that was promoted is the champion then."""
    if document["status"] != "promoted":
        return document
    score = document["comparison"]["challenger_score"]
    itself = Comparison(False, "it is the champion already", "same rows", score, score)
    return {**document, "status": "kept", "comparison": comparison_document(itself)}
