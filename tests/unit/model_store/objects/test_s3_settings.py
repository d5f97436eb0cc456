"""Where S3 is and who asks: resolved once, handed on, never shown."""

from __future__ import annotations

import pickle

import pyarrow.fs
import pytest

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
