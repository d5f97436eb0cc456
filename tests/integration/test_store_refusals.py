"""What a storage may refuse: each error names bucket, key and cause, and no secret."""

from __future__ import annotations

import socket
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.errors import StoreError, StoreProbeError, StoreRefusedError, StoreUnreachableError
from model_store.ledger.ledger import Ledger, open_ledger
from model_store.objects import probe
from model_store.objects.opening import open_objects
from model_store.objects.protocol import ObjectInfo, ObjectStore
from model_store.objects.retry import RetryPolicy
from model_store.objects.s3_settings import S3Settings
from tests.samples.models import commit
from tests.servers.fault_proxy import Request, fault_proxy
from tests.servers.stores import SECRET_ACCESS_KEY, Place, S3Server


def message_of(uri: str, settings: S3Settings, kind: type[StoreError] = StoreRefusedError) -> str:
    """Return the error of a commit, after the checks that hold for every one."""
    with pytest.raises(kind) as caught:
        commit(Ledger(open_objects(uri, settings)), "plants", {"a": 1.0})
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert "\n" not in message and uri.split("/")[2] in message
    for secret in (settings.secret_access_key, settings.session_token, SECRET_ACCESS_KEY):
        assert not secret or secret not in message
    return message


@pytest.mark.s3
def test_refusal_of_a_missing_bucket(ceph_server: S3Server) -> None:
    message = message_of("s3://no-such-bucket/p", ceph_server.settings)
    assert (
        "bucket 'no-such-bucket', key 'p/probes/" in message
        and "there is no such bucket: create it ('aws s3 mb s3://no-such-bucket')" in message
    )


@pytest.mark.s3
def test_refusal_of_a_wrong_secret(ceph_server: S3Server) -> None:
    settings = replace(ceph_server.settings, secret_access_key="wrong-secret-of-nothing")
    message = message_of(f"s3://{ceph_server.new_bucket()}/p", settings)
    assert "check AWS_SECRET_ACCESS_KEY (SignatureDoesNotMatch)" in message


@pytest.mark.s3
def test_refusal_of_an_unknown_key(ceph_server: S3Server) -> None:
    settings = replace(ceph_server.settings, access_key_id="nobody")
    assert "check AWS_ACCESS_KEY_ID" in message_of(f"s3://{ceph_server.new_bucket()}/p", settings)


@pytest.mark.s3
def test_refusal_without_permission(ceph_server: S3Server) -> None:
    assert ceph_server.gateway is not None
    key = uuid.uuid4().hex
    ceph_server.gateway.add_user(f"stranger-{key}", key, "secret-of-the-stranger")
    settings = replace(ceph_server.settings, access_key_id=key, secret_access_key="secret-of-the-stranger")
    assert "no permission" in message_of(f"s3://{ceph_server.new_bucket()}/p", settings)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ExpiredToken", 400, "the session token has expired: renew the credentials"),
        ("AuthorizationHeaderMalformed", 400, "the bucket is in another region: set AWS_REGION"),
        ("PermanentRedirect", 301, "the bucket is in another region: set AWS_REGION"),
        ("RequestTimeTooSkewed", 403, "the clock of this machine is more than 15 minutes off"),
        ("QuotaExceeded", 403, "the quota is used up"),
        ("SomethingNew", 400, "the server answered 400 SomethingNew: on purpose"),
    ],
)
def test_refusal_by_code(moto_server: S3Server, code: str, status: int, expected: str) -> None:
    def refuse(request: Request) -> str | None:  # botocore asks by HEAD for the region of a bucket that has moved
        return None if request.method == "HEAD" else f"{status} {code}"

    with fault_proxy(moto_server.settings.endpoint_url or "", refuse) as proxy:
        settings = replace(moto_server.settings, endpoint_url=proxy.endpoint_url, session_token="a-session-token")
        assert expected in message_of("s3://some-bucket/p", settings)


def test_server_that_always_names_another_region_is_refused(moto_server: S3Server) -> None:
    with fault_proxy(moto_server.settings.endpoint_url or "", lambda request: "301 PermanentRedirect") as proxy:
        settings = replace(moto_server.settings, endpoint_url=proxy.endpoint_url)
        assert "the bucket is in another region: set AWS_REGION" in message_of("s3://some-bucket/p", settings)


def test_refusal_quotes_no_secret_of_the_server(moto_server: S3Server) -> None:
    with fault_proxy(moto_server.settings.endpoint_url or "", lambda request: "400 Echo") as proxy:
        settings = replace(moto_server.settings, endpoint_url=proxy.endpoint_url, secret_access_key="on purpose")
        assert "the server answered 400 Echo: ***" in message_of("s3://some-bucket/p", settings)


def test_unreachable_endpoint_is_said_at_the_end_of_the_time() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        settings = S3Settings(
            f"http://127.0.0.1:{port}", None, "key", "a-secret-key", retry=RetryPolicy(deadline_s=0.3)
        )
        began_at = time.monotonic()
        message = message_of("s3://models/p", settings, StoreUnreachableError)
    assert f"at http://127.0.0.1:{port} can't be reached" in message and "check the server, and AWS_ENDP" in message
    assert "tried for 0.3 s" in message and 0.3 <= time.monotonic() - began_at < 20


def test_endpoint_with_a_name_that_no_host_has_is_refused_at_once() -> None:
    settings = S3Settings("http://no-such-host.invalid:9000", None, "key", "a-secret-key", retry=RetryPolicy(5.0))
    began_at = time.monotonic()
    with pytest.raises(StoreError) as caught:
        commit(Ledger(open_objects("s3://models/p", settings)), "plants", {"a": 1.0})
    if isinstance(caught.value, StoreUnreachableError):
        pytest.skip("this machine has no server of names that answers")
    assert "no host has the name 'no-such-host.invalid': correct AWS_ENDPOINT_URL" in str(caught.value)
    assert time.monotonic() - began_at < 5


def test_server_that_is_not_s3_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        policy = RetryPolicy(deadline_s=0.3, base_s=0.01)
        settings = S3Settings(f"http://127.0.0.1:{port}", None, "key", "a-secret-key", read_timeout_s=0.2, retry=policy)
        assert "can't be reached" in message_of("s3://models/p", settings, StoreUnreachableError)


def test_no_credentials_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    message = message_of("s3://models/p", S3Settings("http://127.0.0.1:9"))
    assert "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message


def test_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreRefusedError, match="a part of the path is a file: set --store to a f"):
        commit(open_ledger(str(tmp_path / "store")), "plants", {"a": 1.0})


class Careless:
    """A store that breaks promises: `create` overwrites, or lets several win, or the list lags behind."""

    is_shared = True

    def __init__(self, inner: ObjectStore, fault: str) -> None:
        self._inner = inner
        self._fault = fault
        self.identity = uuid.uuid4().hex

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def create(self, key: str, data: bytes) -> bool:
        if self._fault == "overwrites":
            self._inner.put(key, data)
            return True
        won = self._inner.create(key, data)
        return won or (self._fault == "several win" and data.isdigit())

    def list(self, prefix: str, after: str = "", limit: int | None = None) -> list[ObjectInfo]:
        return [] if self._fault == "lags" else list(self._inner.list(prefix, after, limit))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("overwrites", "ignores the condition of a conditional write"),
        ("several win", "let 6 of 6 writers create one object"),
        ("lags", "does not list an object that it has just stored"),
    ],
)
def test_store_that_breaks_a_promise_is_refused(tmp_path: Path, fault: str, expected: str) -> None:
    careless = Careless(Place(str(tmp_path / "store")).open(), fault)
    with pytest.raises(StoreProbeError, match=expected):
        commit(Ledger(careless), "plants", {"a": 1.0})  # type: ignore[arg-type]
    assert not (tmp_path / "store" / "versions").exists()
    assert list((tmp_path / "store" / "probes").iterdir()) == []


def test_probe_is_made_once_in_the_life_of_a_store(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    probed = []
    monkeypatch.setattr(probe, "_probe", lambda objects: probed.append(objects.uri))
    for _ in range(2):
        monkeypatch.setattr(probe, "_passed", set())
        probe.require_promises(place.open())
    assert probed == [place.open().uri]


def test_file_system_without_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("model_store.objects.folder.os.link", no_links)
    with pytest.raises(StoreProbeError, match="can't create a file by an atomic link"):
        commit(open_ledger(str(tmp_path / "store")), "plants", {"a": 1.0})
