"""A job's metrics to a Pushgateway, which keeps them for Prometheus after the job has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit

from prometheus_client import push_to_gateway, pushadd_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler
from prometheus_client.metrics_core import Metric

from jobs.monitoring.metrics import registry

logger = logging.getLogger(__name__)

JOB = "gridline"
TIMEOUT_S = 5.0


def push(url: str, collection: str, metrics: Sequence[Metric], *, whole: bool) -> None:
    """Push the metrics, grouped by collection. A gateway that does not take them is logged, and no error.

    The `whole` result of a run replaces all metrics of the collection; else those that are not among them stay.
    """
    send, host = (push_to_gateway if whole else pushadd_to_gateway), "an address that is none"
    try:
        address = urlsplit(url if "://" in url else f"http://{url}")
        host = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
        handler = default_handler if address.username is None else _as_user(address)
        key = {"collection": collection}
        send(f"{host}{address.path}", JOB, registry(metrics), key, timeout=TIMEOUT_S, handler=handler)
    except HTTPError as exc:
        _warn(host, f"it answered {exc.code} {exc.reason}")
    except (OSError, ValueError, HTTPException) as exc:  # an address that is none, a refused connection, a timeout
        _warn(host, str(getattr(exc, "reason", exc)))


def _as_user(address: SplitResult) -> Callable[..., Callable[[], None]]:
    """Return what sends a request with the user and the password of an address."""
    user, password = unquote(address.username or ""), unquote(address.password or "")
    return partial(basic_auth_handler, username=user, password=password)


def _warn(host: str, reason: str) -> None:
    """Log why a push failed; `host` has neither the user nor the path, which may hold a secret."""
    text = "the metrics were not pushed to %s: %s; the job is not affected: check --push-gateway"
    logger.warning(text, host, " ".join(reason.split()))
