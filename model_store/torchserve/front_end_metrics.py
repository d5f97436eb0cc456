"""The metrics of TorchServe's own front end, for the page of `gridline serve`."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 2.0
OURS = "Gridline"  # the sums of the workers, which gridline counts itself
OF_A_WORKER = "WorkerName="  # TorchServe goes on showing workers that have ended


def front_end_metrics(metrics_url: str) -> str:
    """Return the text of Prometheus of the front end; nothing if it does not answer, or not with such a text."""
    try:
        response = httpx.get(f"{metrics_url}/metrics", timeout=TIMEOUT_S, trust_env=False)
        response.raise_for_status()
        return without_workers(response.text)
    except (httpx.HTTPError, ValueError):
        return ""


def without_workers(text: str) -> str:
    """Return a text of Prometheus without families that are empty, gridline's, or of single workers.

    Raises ValueError if Prometheus could not read it.
    """
    passed_on = "".join(f"{line}\n" for line in _lines(text))
    list(text_string_to_metric_families(passed_on))
    return passed_on


def _lines(text: str) -> Iterator[str]:
    """Yield the families that have samples, without those of gridline and of single workers."""
    heading: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            heading = [*heading, line] if line.startswith("# TYPE") else [line]
        elif line and not line.startswith(OURS) and OF_A_WORKER not in line:
            yield from heading
            yield line
            heading = []
