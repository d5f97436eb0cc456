"""What the error codes of S3 mean."""

from __future__ import annotations

import pytest

from model_store.objects.s3_refusals import CAUSES, cause_of, is_transient, unknown_host


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SlowDown", 503),
        ("ConditionalRequestConflict", 409),
        ("InternalError", 500),
        ("", 502),
        ("429", 429),
        ("x", 504),
    ],
)
def test_is_transient_for_what_may_pass(code: str, status: int) -> None:
    assert is_transient(code, status)


@pytest.mark.parametrize(
    ("code", "status"),
    [("NoSuchBucket", 404), ("AccessDenied", 403), ("PreconditionFailed", 412), ("NotImplemented", 501)],
)
def test_is_transient_not_for_a_refusal(code: str, status: int) -> None:
    assert not is_transient(code, status)


def test_cause_of_a_known_code_says_what_to_do() -> None:
    assert cause_of("NoSuchBucket", 404, "", "models") == (
        "there is no such bucket: create it ('aws s3 mb s3://models'), or correct --store or 'store.uri' (NoSuchBucket)"
    )


@pytest.mark.parametrize(("code", "status"), [("403", 403), ("", 403)])
def test_cause_of_an_answer_without_a_code_goes_by_its_status(code: str, status: int) -> None:
    assert "no permission" in cause_of(code, status, "", "models")


def test_cause_of_an_unknown_code_quotes_the_server_in_one_line() -> None:
    assert cause_of("Teapot", 418, "I am\na teapot", "models") == "the server answered 418 Teapot: I am a teapot"


def test_cause_of_an_answer_without_a_message_says_so() -> None:
    assert cause_of("InvalidRange", 416, None, "models") == "the server answered 416 InvalidRange: no reason given"


def test_causes_are_one_line_each() -> None:
    assert all("\n" not in cause and len(cause) < 200 for cause in CAUSES.values())


def test_unknown_host_is_one_that_no_server_of_names_knows() -> None:
    assert unknown_host("http://127.0.0.1:9000") is None
    assert unknown_host("http://localhost:9000") is None
    assert unknown_host("") is None
