"""The job's metrics: their names, and their values as one flat list of samples. docs/monitoring.md explains each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "gridline_job_"
LAST_SUCCESS = "last_success_timestamp_seconds"
HELP = {  # all are gauges: each run gives its own numbers
    LAST_SUCCESS: "When a run last ended with exit code 0.",
    "last_run_timestamp_seconds": "When the last run ended, however it ended.",
    "last_exit_code": "Its exit code.",
    "duration_seconds": "Seconds that the run took.",
    "phase_seconds": "Seconds of the run in each phase.",
    "trials": "Trials, by outcome: computed and reused are all; diverged and not_converged are among these.",
    "datasets": "Datasets, by status.",
    "rows": "Rows that were read.",
    "bytes_read": "Bytes of the sources that were read.",
    "groups": "Datasets that were made by group_by.",
    "retries": "What was tried again: tasks that lost their worker, and requests to the store.",
    "commits": "Versions that were committed.",
    "store_requests": "Requests to S3, by operation.",
    "store_bytes": "Bytes sent to S3 and received from it.",
    "cpu_seconds": "CPU seconds of the driver, and of tasks on workers.",
    "cost_dollars": "The cost by the prices of the configuration.",
    "champions": "Datasets of the run that have a champion after it.",
    "dollars_per_million_champions": "The cost divided by the champions, times a million.",
    "worst_error_ratio": "The error of the champion after the run, divided by the recorded one of the champion before.",
    "drift": "The growth of the error of the champion before the run on the rows of the run, as a share.",
    "unconverged_champions": "Champions of datasets of the run whose training has not converged.",
}

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """A value of a metric; `name` is without the prefix, `labels` without the collection."""

    name: str
    value: float
    labels: Labels = field(default_factory=dict)


def by_label(name: str, label: str, values: Mapping[str, float]) -> list[Sample]:
    """Return a sample for each value of a label."""
    return [Sample(name, float(value), {label: of}) for of, value in values.items()]


def document(samples: Iterable[Sample]) -> dict[str, float | dict[str, float]]:
    """Return the samples by name, as `train --json` has them; those with a label by its value."""
    found: dict[str, float | dict[str, float]] = {}
    for each in samples:
        if not each.labels:
            found[each.name] = each.value
            continue
        (of,) = each.labels.values()
        by = found.setdefault(each.name, {})
        assert isinstance(by, dict)  # noqa: S101 - a metric has a label in all samples, or in none
        by[of] = each.value
    return found


def families(collection: str, samples: Sequence[Sample]) -> list[Metric]:
    """Return the samples as Prometheus knows them: with the prefix, and with the label `collection`."""
    made = list[Metric]()
    for name, text in HELP.items():
        of_name = [each for each in samples if each.name == name]
        if not of_name:
            continue
        family = GaugeMetricFamily(PREFIX + name, text, labels=["collection", *of_name[0].labels])
        for each in of_name:
            family.add_metric([collection, *each.labels.values()], each.value)
        made.append(family)
    return made


@dataclass(frozen=True, eq=False)
class _Fixed(Collector):
    of: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.of


def registry(metrics: Sequence[Metric]) -> CollectorRegistry:
    """Return a registry that holds these metrics."""
    made = CollectorRegistry(auto_describe=False)
    made.register(_Fixed(metrics))
    return made
