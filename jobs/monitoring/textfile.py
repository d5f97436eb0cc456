"""A job's metrics in a file, for the textfile collector of Prometheus' node exporter."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from jobs.monitoring.metrics import HELP, PREFIX, registry

logger = logging.getLogger(__name__)


def write_textfile(path: Path, collection: str, metrics: Sequence[Metric], *, whole: bool) -> None:
    """Write the metrics to a file at once, so that nobody reads a half of them. A failure is logged, and no error.

    The file is of one collection. Unless the metrics are the `whole` result of a run, those of the earlier file that
    are not among them stay.
    """
    found = _earlier(path, collection)
    by_name = ({} if whole else found) | {metric.name: metric for metric in metrics}
    kept = [by_name[PREFIX + name] for name in HELP if PREFIX + name in by_name]
    staged = path.with_name(f".{path.name}.{os.getpid()}")  # the collector reads *.prom alone
    try:
        staged.write_bytes(generate_latest(registry(kept)))
        staged.chmod(0o644)  # the exporter is another user
        staged.replace(path)
    except OSError as exc:
        logger.warning("the metrics can't be written to %s: %s; set --metrics-file to another path", path, exc.strerror)
        staged.unlink(missing_ok=True)


def _earlier(path: Path, collection: str) -> dict[str, Metric]:
    """Return the metrics of the collection in an earlier file, by their names; none of a file that can't be read."""
    found, others = dict[str, Metric](), set[str]()
    try:
        for metric in text_string_to_metric_families(path.read_text()):
            others |= {each.labels.get("collection", "none") for each in metric.samples} - {collection}
            metric.samples = [each for each in metric.samples if each.labels.get("collection") == collection]
            if metric.samples:
                found[metric.name] = metric
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        logger.warning("%s is no file of metrics, and is replaced: %s", path, " ".join(str(exc).split()))
        return {}
    if others:
        another = "%s had the metrics of collection '%s', and is replaced: give each job a --metrics-file of its own"
        logger.warning(another, path, min(others))
    return found
