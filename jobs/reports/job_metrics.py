"""The metrics of a job: what its watch has counted, and what its outcome tells.

Shapes: m datasets · g grid points.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from jobs.champions.standing import Standing, standing_of
from jobs.errors import DONE
from jobs.monitoring.cost import Prices
from jobs.monitoring.metrics import LAST_SUCCESS, Sample, by_label, document
from jobs.monitoring.watch import Watch
from jobs.reports.outcome import JobOutcome
from model_store.objects.traffic import Counts


@dataclass(frozen=True)
class JobMetrics:
    """The metrics of a run that ended with `exit_code`; of one that ended by an error there is no outcome.

    They are `whole` if the run ended with exit code 0 and compared its models: else a metric that it does not have
    stays as the run before left it.
    """

    exit_code: int
    samples: tuple[Sample, ...]
    whole: bool
    cost: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return what `train --json` says of the run beside its outcome."""
        return {"metrics": document(self.samples), "cost": self.cost}


def metrics_of(watch: Watch, exit_code: int, outcome: JobOutcome | None, prices: Prices | None) -> JobMetrics:
    """Return the metrics of a run, at its end."""
    traffic = watch.traffic()
    cpu_s = {"driver": watch.driver_cpu_s, "workers": float(watch.counts["worker_cpu_s"])}
    dollars = None if prices is None else prices.dollars(sum(cpu_s.values()), traffic)
    of_outcome = [] if outcome is None else _of_outcome(outcome)
    champions = next((each.value for each in of_outcome if each.name == "champions"), 0)
    cost: dict[str, Any] = {"cpu_seconds": cpu_s, "store_requests": dict(traffic.requests)}
    cost |= {"store_bytes": _bytes(traffic), "dollars": dollars, "dollars_per_million_champions": None}
    samples = [*_of_end(exit_code), *_of_watch(watch, traffic), *by_label("cpu_seconds", "of", cpu_s), *of_outcome]
    if dollars is not None:
        samples.append(Sample("cost_dollars", dollars))
        if champions:
            cost["dollars_per_million_champions"] = dollars / champions * 1e6
            samples.append(Sample("dollars_per_million_champions", dollars / champions * 1e6))
    whole = exit_code == DONE and outcome is not None and not outcome.earlier
    return JobMetrics(exit_code, tuple(samples), whole, cost)


def _of_end(exit_code: int) -> list[Sample]:
    now = time.time()
    succeeded = [Sample(LAST_SUCCESS, now)] if exit_code == DONE else []
    return [*succeeded, Sample("last_run_timestamp_seconds", now), Sample("last_exit_code", exit_code)]


def _of_watch(watch: Watch, traffic: Counts) -> list[Sample]:
    counts = watch.counts
    return [
        Sample("duration_seconds", watch.duration_s),
        *by_label("phase_seconds", "phase", watch.phase_s),
        Sample("rows", counts["rows"]),
        Sample("bytes_read", counts["bytes"]),
        *by_label("retries", "of", {"task": counts["lost_tasks"], "store": traffic.failed}),
        *by_label("store_requests", "operation", traffic.requests),
        *by_label("store_bytes", "direction", _bytes(traffic)),
    ]


def _bytes(traffic: Counts) -> dict[str, int]:
    return {"sent": traffic.sent_bytes, "received": traffic.received_bytes}


def _of_outcome(outcome: JobOutcome) -> list[Sample]:
    statuses = _dataset_statuses(outcome)
    samples = [
        *by_label("trials", "outcome", _trials(outcome)),
        *by_label("datasets", "status", statuses),
        Sample("groups", sum(fleet.num_datasets for fleet in outcome.fleets)),
        Sample("commits", int(outcome.committed)),
    ]
    if outcome.earlier:  # the data and the champions are those of the run before: so are the other numbers
        return samples
    standing = _standing(outcome)
    samples += [Sample("champions", standing.num_champions), Sample("unconverged_champions", standing.num_unconverged)]
    known = {"worst_error_ratio": standing.worst_error_ratio, "drift": standing.drift}
    return samples + [Sample(name, value) for name, value in known.items() if value is not None]


def _dataset_statuses(outcome: JobOutcome) -> dict[str, int]:
    statuses = Counter(each.status for each in outcome.datasets)
    statuses.update(each["status"] for each in outcome.earlier)
    for fleet in outcome.fleets:
        statuses.update(fleet.statuses())
    named = {status.replace(" ", "_"): number for status, number in statuses.items()}
    return dict.fromkeys(("promoted", "kept", "failed", "no_convergence"), 0) | named


def _trials(outcome: JobOutcome) -> dict[str, int]:
    if outcome.earlier:
        return {"computed": 0, "reused": outcome.reused}
    found = Counter(computed=outcome.computed, reused=outcome.reused, diverged=0, not_converged=0)
    for trained in (each.trained for each in outcome.datasets if each.trained is not None):
        diverged_mg = trained.result.diverged_at_mg > 0
        found["diverged"] += int(diverged_mg.sum())
        found["not_converged"] += int((~diverged_mg & ~trained.result.converged_mg).sum())
    for fleet in outcome.fleets:
        found.update({name: fleet.trial_statuses.get(name, 0) for name in ("diverged", "not_converged")})
    return dict(found)


def _standing(outcome: JobOutcome) -> Standing:
    pairs = [(each.batch, each.comparisons) for each in outcome.datasets if each.batch and each.comparisons]
    for fleet in outcome.fleets:
        pairs += zip(fleet.batches, fleet.comparisons or (), strict=False)
    return standing_of(pairs)
