"""Pushing metrics: what a gateway gets, and that a job does not fail without one."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jobs.monitoring.metrics import Sample, families
from jobs.monitoring.push import push
from model_store.serving.ports import free_ports
from tests.servers.http_listener import QuietHandler, listening

METRICS = families("plants", [Sample("last_exit_code", 4)])


@contextmanager
def gateway(status: int = 200) -> Iterator[tuple[str, list[tuple[str, str, str, str]]]]:
    """Run a gateway that answers with a status; give its URL, and its requests: method, path, body, authorization."""
    requests: list[tuple[str, str, str, str]] = []

    class Gateway(QuietHandler):
        def take(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append((self.command, self.path, body, self.headers.get("Authorization", "")))
            self.send_response(status)
            self.end_headers()

        do_PUT = do_POST = take  # noqa: N815 - the names that http.server calls

    with listening(Gateway) as url:
        yield url, requests


@pytest.mark.parametrize(("whole", "method"), [(True, "PUT"), (False, "POST")])
def test_push_replaces_all_of_a_collection_or_what_it_has(whole: bool, method: str) -> None:
    with gateway() as (url, requests):
        push(url, "plants", METRICS, whole=whole)
    [(sent, path, body, _)] = requests
    assert (sent, path) == (method, "/metrics/job/gridline/collection/plants")
    assert 'gridline_job_last_exit_code{collection="plants"} 4.0' in body.splitlines()


def test_push_with_a_user_in_the_address_authorizes() -> None:
    with gateway() as (url, requests):
        push(url.replace("://", "://user:pass%3Aword@") + "/behind/", "plants", METRICS, whole=True)
    [(_, path, _, authorization)] = requests
    assert path == "/behind/metrics/job/gridline/collection/plants"
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"user:pass:word"


def test_push_to_nobody_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    push(f"http://user:secret@127.0.0.1:{free_ports(1)[0]}/x?token=secret", "plants", METRICS, whole=True)
    assert "Connection refused" in caplog.text
    assert "check --push-gateway" in caplog.text
    assert "secret" not in caplog.text


def test_push_that_is_refused_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with gateway(status=403) as (url, _):
        push(url, "plants", METRICS, whole=True)
    assert "it answered 403 Forbidden" in caplog.text


@pytest.mark.parametrize("url", ["", "ftp://x", "http://[::1", "http://127.0.0.1:99999", "nothing at all"])
def test_push_to_what_is_no_address_is_a_warning(url: str, caplog: pytest.LogCaptureFixture) -> None:
    push(url, "plants", METRICS, whole=True)
    assert "check --push-gateway" in caplog.text
