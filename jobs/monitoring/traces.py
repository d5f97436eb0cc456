"""Traces of a job for OpenTelemetry: a span for the job, for each phase, and for each task, sent when the job ends.

Workers send nothing: they report their times to the driver, and the driver makes all spans. Needs `gridline[otlp]`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from typing import Any

from jobs.monitoring.watch import Span

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
TIMEOUT_S = 5.0
BATCH = 512  # spans of a request
ROOT = "gridline train"


@dataclass
class Traces:
    """The spans of a job, and what exports them: an exporter of OpenTelemetry's SDK."""

    exporter: Any
    spans: list[Span] = field(default_factory=list)

    def export(self, started_at: float, ended_at: float, attributes: Mapping[str, str | int]) -> None:
        """Send all spans below one of the job, which has the attributes. A collector that fails is logged, no error."""
        made = _made(Span(ROOT, started_at, ended_at), self.spans, attributes)
        success, rest = import_module("opentelemetry.sdk.trace.export").SpanExportResult.SUCCESS, iter(made)
        own = logging.getLogger("opentelemetry")
        level = own.level
        own.setLevel(logging.CRITICAL)  # it logs each attempt: one line says what is to be done
        try:
            while batch := list(islice(rest, BATCH)):
                if self.exporter.export(batch) != success:
                    logger.warning("the traces were not taken: check %s; the job is not affected", ENDPOINTS[1])
                    return
        finally:
            self.exporter.shutdown()
            own.setLevel(level)


def traces_of(environment: Mapping[str, str]) -> Traces | None:
    """Return where the spans of a job go, by the variables of OpenTelemetry; None where none are wanted, or can be."""
    if not any(map(environment.get, ENDPOINTS)) or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return None
    protocol = next(filter(None, map(environment.get, PROTOCOLS)), PROTOCOL)
    if protocol != PROTOCOL:
        text = "no traces are sent: %s is %r, and gridline sends %s: set that, and the collector's address of it"
        logger.warning(text, PROTOCOLS[1], protocol, PROTOCOL)
        return None
    try:
        exporter = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ModuleNotFoundError:
        logger.warning(
            "no traces are sent: %s is set, and its package is missing: pip install 'gridline[otlp]'", ENDPOINTS[1]
        )
        return None
    return Traces(exporter.OTLPSpanExporter(timeout=TIMEOUT_S))


def _made(job: Span, spans: Sequence[Span], attributes: Mapping[str, str | int]) -> list[Any]:
    """Return the spans as the SDK has them: each below the shortest phase around its end, else below the job."""
    trace, sdk = import_module("opentelemetry.trace"), import_module("opentelemetry.sdk.trace")
    resource = import_module("opentelemetry.sdk.resources").Resource.create({"service.name": "gridline"})
    tracer = sdk.TracerProvider(resource=resource, shutdown_on_exit=False).get_tracer("gridline")
    phases = sorted((each for each in spans if each.task is None), key=_length, reverse=True)
    below: dict[int, Any] = {}

    def start(span: Span, parent: Any) -> Any:
        context = None if parent is None else trace.set_span_in_context(parent)
        said = {**attributes, **_said(span)}
        made = tracer.start_span(span.task or span.name, context, start_time=_ns(span.started_at), attributes=said)
        if span.error:
            made.set_status(trace.StatusCode.ERROR)
        return made

    root = below[id(job)] = start(job, None)
    for phase in phases:
        below[id(phase)] = start(phase, below[id(_around(phase, job, phases))])
    tasks = [(each, start(each, below[id(_around(each, job, phases))])) for each in spans if each.task is not None]
    ended = [(job, root), *((phase, below[id(phase)]) for phase in phases), *tasks]
    for span, made in ended:
        made.end(end_time=_ns(span.ended_at))
    return [made for _, made in ended]


def _around(span: Span, job: Span, phases: Sequence[Span]) -> Span:
    """Return the shortest of the phases (the longest first) that is longer than a span and around its end."""
    found = job
    for phase in phases:
        if phase is span:
            break
        if phase.started_at <= span.ended_at <= phase.ended_at:
            found = phase
    return found


def _said(span: Span) -> dict[str, Any]:
    if span.task is None:
        return {}
    return {"gridline.phase": span.name, "gridline.cpu_s": span.cpu_s, "gridline.lost_attempts": span.failures}


def _length(span: Span) -> float:
    return span.ended_at - span.started_at


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
