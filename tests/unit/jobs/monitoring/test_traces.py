"""Traces of a job: which span is below which, and what comes to a collector."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import gridline
from jobs.monitoring.traces import Traces, traces_of
from jobs.monitoring.watch import Span
from model_store.serving.ports import free_ports
from tests.servers.http_listener import QuietHandler, listening
from tests.servers.inline_cluster import InlineCluster

OTLP = "opentelemetry.exporter.otlp.proto.http"
INSTALL = "not installed: pip install 'gridline[otlp]'"
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")  # a package of Ray's
SPANS = [
    Span("train a", 3.0, 4.0, task="a", cpu_s=0.5, failures=1),
    Span("scan", 2.0, 5.0),
    Span("train", 1.0, 8.0),
    Span("commit", 8.5, 9.0, error=True),
]


def made(spans: list[Span]) -> dict[str, Any]:
    exporter = in_memory.InMemorySpanExporter()
    Traces(exporter, spans).export(0.0, 10.0, {"gridline.run_id": "plants-1", "gridline.exit_code": 0})
    return {each.name: each for each in exporter.get_finished_spans()}


def test_spans_are_below_the_phase_around_them() -> None:
    spans = made(SPANS)
    by_id = {each.context.span_id: name for name, each in spans.items()}
    parents = {name: by_id.get(each.parent.span_id) if each.parent else None for name, each in spans.items()}
    job = "gridline train"
    assert parents == {job: None, "train": job, "commit": job, "scan": "train", "a": "scan"}
    assert len({each.context.trace_id for each in spans.values()}) == 1


def test_spans_have_times_run_and_what_a_task_took() -> None:
    spans = made(SPANS)
    assert (spans["a"].start_time, spans["a"].end_time) == (3_000_000_000, 4_000_000_000)
    assert {each.attributes["gridline.run_id"] for each in spans.values()} == {"plants-1"}
    assert (spans["a"].attributes["gridline.cpu_s"], spans["a"].attributes["gridline.lost_attempts"]) == (0.5, 1)
    assert (spans["commit"].status.is_ok, spans["train"].status.is_ok) == (False, True)
    assert spans["a"].resource.attributes["service.name"] == "gridline"


def test_spans_of_many_tasks_are_all_sent() -> None:
    tasks = [Span("train", 2.0, 3.0, task=f"part {number}") for number in range(1200)]
    assert len(made([*tasks, Span("train", 1.0, 4.0)])) == 1202


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_no_traces_are_made_unless_asked_for(environment: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    assert traces_of(environment) is None
    assert caplog.text == ""


def test_a_missing_package_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert traces_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}) is None
    [record] = caplog.records
    assert "pip install 'gridline[otlp]'" in record.getMessage()


def test_another_protocol_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert traces_of(environment) is None
    assert "is 'grpc', and gridline sends http/protobuf" in caplog.text


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Run a collector of OTLP over HTTP; give its address, and the spans that come."""
    spans: list[Any] = []
    protocol = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

    class Collector(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
            request = protocol.ExportTraceServiceRequest.FromString(
                self.rfile.read(int(self.headers["Content-Length"]))
            )
            spans.extend(span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

    with listening(Collector) as url:
        yield url, spans


def train(folder: Path) -> str:
    (folder / "a.csv").write_text("u,y\n" + "".join(f"{u},{2 * u}\n" for u in range(20)))
    dataset = {"name": "a", "source": "a.csv", "target": "y", "features": ["u"]}
    job = {"name": "plants", "datasets": [dataset], "grid": {"learning_rate": [0.001]}}
    return gridline.train(job, store=str(folder / "store"), base=folder).run_id


def test_a_job_sends_its_phases_to_a_collector(
    inline_cluster: InlineCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(OTLP, reason=INSTALL)
    with collector() as (url, spans):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        run_id = train(tmp_path)
    assert {"gridline train", "read", "join", "train", "compare", "commit"} <= {span.name for span in spans}
    said = {each.key: each.value.string_value for span in spans for each in span.attributes}
    assert said["gridline.run_id"] == run_id


def test_a_job_without_its_collector_ends_as_it_would(
    inline_cluster: InlineCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip(OTLP, reason=INSTALL)
    monkeypatch.setattr("jobs.monitoring.traces.TIMEOUT_S", 0.5)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")
    assert train(tmp_path)
    assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [
        "the traces were not taken: check OTEL_EXPORTER_OTLP_ENDPOINT; the job is not affected"
    ]
