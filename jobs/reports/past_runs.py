"""What a run did, kept in its folder, so that it can be told later.

runs/<run_id>/results/<sha256>.json.zlib    the documents of `train --json` of listed datasets, a summary of groups
runs/<run_id>/repetition.json               instead of all else: which run it repeats, because nothing had changed
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.champions.promotion import remedies
from jobs.groups.outcome import GroupsOutcome
from jobs.reports.outcome import JobOutcome
from jobs.trials.documents import trial_documents
from model_store.claims.runs import RunFolder
from model_store.errors import CorruptObjectError, UnknownRunError
from model_store.ledger.ledger import Ledger
from model_store.objects.protocol import ObjectInfo, in_parallel

CONFIGURATION, REPETITION, RESULTS, TRIALS = "configuration.json", "repetition.json", "results/", "trials/"


def keep_results(folder: RunFolder, outcome: JobOutcome) -> None:
    """Store what a run did, by its content."""
    document = {
        "version": outcome.version,
        "committed": outcome.committed,
        "datasets": list(outcome.listed_documents()),
        "groups": [_summary(groups) for groups in outcome.fleets],
    }
    data = zlib.compress(json.dumps(document, sort_keys=True).encode(), 1)
    folder.create(f"{RESULTS}{hashlib.sha256(data).hexdigest()}.json.zlib", data)


def keep_repetition(folder: RunFolder, outcome: JobOutcome) -> None:
    """Store that a run has changed nothing, and which run it repeats."""
    num_datasets = len(outcome.datasets) + len(outcome.earlier) + sum(map(_num_datasets, outcome.fleets))
    document = {
        "collection": outcome.collection,
        "version": outcome.version,
        "num_datasets": num_datasets,
        "repeats": outcome.repeats,
    }
    folder.create(REPETITION, json.dumps(document).encode())


def run_documents(ledger: Ledger, limit: int | None = None) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of runs in the store, and a document for each of the newest, the newest first.

    A document has the collection of a run, when it wrote last, and its version.
    """
    runs = sorted(ledger.run_folders().items(), key=lambda run: (_written_at(run[1]), run[0]), reverse=True)
    return len(runs), in_parallel(lambda run: _document(ledger, *run), runs[:limit])


def run_document(ledger: Ledger, run_id: str) -> dict[str, Any]:
    """Return what a run was told, and what it did; of a repetition, what the run did that it repeats.

    Raises UnknownRunError.
    """
    folders = ledger.run_folders()
    if run_id not in folders:
        raise UnknownRunError(f"the store has no run {run_id!r}: 'gridline runs list' lists its runs")
    document = _document(ledger, run_id, folders[run_id])
    told = document["repeats"] or run_id
    configuration, results = _configuration(ledger.run(told)), _results(ledger.run(told), folders.get(told, []))
    kept = {key: document[key] for key in ("version", "committed")}
    return document | {"configuration": configuration, **results, **kept}


def _document(ledger: Ledger, run_id: str, infos: Iterable[ObjectInfo]) -> dict[str, Any]:
    folder, written_at = ledger.run(run_id), datetime.fromtimestamp(_written_at(infos), UTC)
    document: dict[str, Any] = {"run_id": run_id, "written_at": written_at.isoformat(timespec="seconds")}
    if _newest(run_id, infos, REPETITION) is not None and _newest(run_id, infos, RESULTS) is None:
        return document | {"committed": False} | dict(json.loads(folder.read(REPETITION) or b"{}"))
    results = _results(folder, infos)
    return document | {
        "collection": _configuration(folder).get("name"),
        "version": results["version"],
        "committed": results["committed"],
        "num_datasets": len(results["datasets"]) + sum(groups["num_datasets"] for groups in results["groups"]),
        "repeats": None,
    }


def _summary(groups: GroupsOutcome) -> dict[str, Any]:
    return {
        "name": groups.name,
        "num_datasets": _num_datasets(groups),
        "num_promoted": groups.num_promoted,
        "num_failed": len(groups.failures),
        "num_not_promotable": len(groups.unconverged),
        "remedies": remedies([*groups.unconverged.values(), *groups.warnings()]),
    }


def _num_datasets(groups: GroupsOutcome) -> int:
    return groups.num_trained + len(groups.unconverged) + len(groups.failures)


def _written_at(infos: Iterable[ObjectInfo]) -> float:
    return max(info.modified_at for info in infos)


def _configuration(folder: RunFolder) -> dict[str, Any]:
    """Return the resolved configuration of a run; empty if it has not stored one yet."""
    parsed: dict[str, Any] = json.loads(folder.read(CONFIGURATION) or b"{}")
    return parsed


def _results(folder: RunFolder, infos: Iterable[ObjectInfo]) -> Mapping[str, Any]:
    """Return the newest results of a run; of a run that stored none, its trials."""
    unknown: dict[str, Any] = {"version": None, "committed": None, "datasets": [], "groups": []}
    try:
        if (name := _newest(folder.run_id, infos, RESULTS)) is not None:
            return unknown | dict(json.loads(zlib.decompress(folder.read(name) or b"")))
        if (name := _newest(folder.run_id, infos, TRIALS)) is not None:
            trials = pq.read_table(io.BytesIO(folder.read(name) or b""))
            return unknown | {"datasets": _of_trials(trials)}
    except (zlib.error, ValueError, pa.ArrowException) as exc:
        raise CorruptObjectError(f"run {folder.run_id!r}", f"its results can't be read: {exc}") from exc
    return unknown


def _newest(run_id: str, infos: Iterable[ObjectInfo], kind: str) -> str | None:
    found = [info for info in infos if f"/{run_id}/{kind}" in f"/{info.key}"]
    newest = max(found, key=lambda info: (info.modified_at, info.key), default=None)
    return None if newest is None else newest.key.partition(f"{run_id}/")[2]


def _of_trials(trials: pa.Table) -> list[dict[str, Any]]:
    by_dataset = groupby(trial_documents(trials), key=itemgetter(0))
    return [{"dataset": name, "best": None, "trials": [trial for _, trial in rows]} for name, rows in by_dataset]
