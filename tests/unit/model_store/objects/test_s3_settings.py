"""Where S3 is and who asks: resolved once, handed on, never shown."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable

import boto3
import pyarrow.fs
import pytest

from jobs.sources.filesystems import open_filesystem
from model_store.errors import S3SettingsError, StoreRefusedError
from model_store.objects import s3
from model_store.objects.opening import open_objects
from model_store.objects.s3_settings import S3Settings

ENVIRONMENT = {
    "AWS_ENDPOINT_URL": "https://general.example",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "an-id",
    "AWS_SECRET_ACCESS_KEY": "a-secret",
    "AWS_SESSION_TOKEN": "a-token",
}


def test_from_environment_prefers_the_endpoint_of_s3() -> None:
    assert S3Settings.from_environment(ENVIRONMENT).endpoint_url == "https://general.example"
    both = ENVIRONMENT | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000"}
    assert S3Settings.from_environment(both).endpoint_url == "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("env", "region"),
    [
        ({"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}, "a"),
        ({"AWS_DEFAULT_REGION": "b"}, "b"),
        ({}, None),
        ({"AWS_ENDPOINT_URL": "http://x"}, "us-east-1"),
    ],
)
def test_client_region_is_one_that_a_server_expects(env: dict[str, str], region: str | None) -> None:
    assert S3Settings.from_environment(env).client_region() == region


def test_from_environment_takes_empty_for_absent() -> None:
    assert S3Settings.from_environment(dict.fromkeys(ENVIRONMENT, "")) == S3Settings()


def test_repr_holds_no_secret() -> None:
    text = repr(S3Settings.from_environment(ENVIRONMENT))
    assert "a-secret" not in text and "a-token" not in text and "an-id" not in text


def test_settings_can_be_pickled_for_a_worker() -> None:
    settings = S3Settings.from_environment(ENVIRONMENT)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301


def test_pyarrow_arguments_name_endpoint_and_credentials() -> None:
    settings = S3Settings.from_environment(ENVIRONMENT | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000/"})
    assert settings.pyarrow_arguments() == {
        "endpoint_override": "127.0.0.1:9000",
        "scheme": "http",
        "force_virtual_addressing": False,
        "region": "eu-central-1",
        "access_key": "an-id",
        "secret_key": "a-secret",
        "session_token": "a-token",
        "connect_timeout": 5.0,
        "request_timeout": 20.0,
    }
    assert pyarrow.fs.S3FileSystem(**settings.pyarrow_arguments()).region == "eu-central-1"


def test_pyarrow_arguments_leave_aws_to_itself() -> None:
    assert set(S3Settings().pyarrow_arguments()) == {"connect_timeout", "request_timeout"}


def test_redact_hides_every_secret() -> None:
    settings = S3Settings.from_environment(ENVIRONMENT)
    assert settings.redact("an-id used a-secret with a-token") == "*** used *** with ***"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"AWS_ENDPOINT_URL": "localhost:9000"},
            "AWS_ENDPOINT_URL 'localhost:9000' has no scheme: write http://localhost:9000",
        ),
        ({"AWS_ENDPOINT_URL_S3": "minio"}, "AWS_ENDPOINT_URL_S3 'minio' has no scheme: write http://minio"),
        ({"AWS_ENDPOINT_URL": "//minio:9000"}, "AWS_ENDPOINT_URL '//minio:9000' has no scheme: write http://HOST:PORT"),
        ({"AWS_ENDPOINT_URL": "s3://minio"}, "AWS_ENDPOINT_URL 's3://minio' has the scheme 's3': write http://minio"),
        ({"AWS_ENDPOINT_URL": "http://"}, "AWS_ENDPOINT_URL 'http://' is not an address: write http://HOST:PORT"),
        ({"AWS_ENDPOINT_URL": "http://h:x"}, "AWS_ENDPOINT_URL 'http://h:x' is not an address: write http://HOST"),
        ({"AWS_ENDPOINT_URL": "http://h:99999"}, "AWS_ENDPOINT_URL 'http://h:99999' is not an address"),
        ({"AWS_ENDPOINT_URL": "http://a b"}, "AWS_ENDPOINT_URL 'http://a b' is not an address"),
        ({"AWS_ENDPOINT_URL": "http://me:secret@h"}, "AWS_ENDPOINT_URL has a user in it: remove it, and set"),
        ({"AWS_REGION": "eu west"}, "AWS_REGION 'eu west' is not a region: write one such as 'eu-central-1'"),
        (
            {"AWS_ACCESS_KEY_ID": "an-id"},
            "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not: set both, or neither",
        ),
        (
            {"AWS_SECRET_ACCESS_KEY": "a-secret"},
            "AWS_SECRET_ACCESS_KEY is set, and AWS_ACCESS_KEY_ID is not: set both, or neither",
        ),
    ],
)
def test_settings_that_no_client_can_use_are_refused_by_stores_and_sources(
    environment: dict[str, str], message: str
) -> None:
    settings = S3Settings.from_environment(environment)
    uses: list[Callable[[], object]] = [
        lambda: open_objects("s3://data/store", settings),
        lambda: open_filesystem("s3://data/plain.csv", settings),
    ]
    for use in uses:
        with pytest.raises(S3SettingsError, match=f"^{re.escape(message)}") as refused:
            use()
        assert "secret@" not in str(refused.value)
    open_filesystem("plain.csv", settings)  # no S3, no error


@pytest.mark.parametrize(
    "environment", [{}, ENVIRONMENT, {"AWS_ENDPOINT_URL": "http://[::1]:9000/"}, {"AWS_ENDPOINT_URL": "https://s3.x/y"}]
)
def test_require_usable_takes_whole_settings(environment: dict[str, str]) -> None:
    S3Settings.from_environment(environment).require_usable()


def test_profile_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setattr(s3, "_session", boto3.session.Session)
    with pytest.raises(S3SettingsError, match=r"S3 can't be used: .*nobody.*: check the AWS variables"):
        open_objects("s3://data/store", S3Settings())


def test_bucket_that_no_server_can_have_is_refused_before_a_request() -> None:
    settings = S3Settings.from_environment(ENVIRONMENT | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(StoreRefusedError, match=r"'Bad!', key 'x/k': this is not a valid bucket name: correct"):
        open_objects("s3://Bad!/x", settings).read("k")
