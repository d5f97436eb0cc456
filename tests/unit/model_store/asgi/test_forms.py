from __future__ import annotations

import time

import pytest

from handler.requests.forms import is_form
from handler.requests.payload import Field
from model_store.asgi.forms import MAX_FIELDS, fields_of
from model_store.asgi.refusals import RefusedError

MULTIPART = "multipart/form-data; boundary=x"
LARGEST = 6_500_000
URLENCODED = "application/x-www-form-urlencoded"
PART = '--x\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n{type}\r\n{content}\r\n'


def part(name: str, content: str, kind: str = "", of_file: str = "") -> str:
    return PART.format(name=name, of_file=of_file, type=f"Content-Type: {kind}\r\n" if kind else "", content=content)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("data=%7B%7D", {"data": b"{}"}),
        ("data={}&body=[]", {"data": b"{}", "body": b"[]"}),
        ("data=a+b%20c&data=%C3%BC", {"data": "ü".encode()}),
        ("data=a=b&%C3%BC=1", {"data": b"a=b", "ü": b"1"}),
        ("{}", {"{}": b""}),
    ],
)
def test_fields_of_an_urlencoded_form(body: str, expected: dict[str, bytes]) -> None:
    assert fields_of(body.encode(), URLENCODED) == {name: Field(content) for name, content in expected.items()}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (part("data", "{}"), {"data": Field(b"{}")}),
        (part("d", "{}", "application/json", '; filename="a"'), {"d": Field(b"{}", "application/json")}),
        (
            part("a", "1") + part("b", "x\r\n2\r\n", "text/csv"),
            {"a": Field(b"1"), "b": Field(b"x\r\n2\r\n", "text/csv")},
        ),
        (part("ü", "ü"), {"ü": Field("ü".encode())}),
        ("garbage", {}),
    ],
)
def test_fields_of_a_multipart_form(body: str, expected: dict[str, Field]) -> None:
    assert fields_of(f"{body}--x--\r\n".encode(), MULTIPART) == expected


def test_fields_of_a_form_without_its_boundary_are_none() -> None:
    assert fields_of(part("data", "{}").encode(), "multipart/form-data") == {}


@pytest.mark.parametrize("body", ["data=%", "data=%4", "data=%zz", "%=1", "data=" + "%" * 1000])
def test_fields_of_a_form_with_a_malformed_escape_is_refused(body: str) -> None:
    with pytest.raises(RefusedError) as caught:
        fields_of(body.encode(), URLENCODED)
    assert caught.value.response.status == 400


@pytest.mark.parametrize("boundary", ['"x"', "x; charset=utf-8", "X"])
def test_fields_of_a_multipart_form_whose_boundary_is_written_in_another_way(boundary: str) -> None:
    body = f"{part('data', '{}')}--x--\r\n".replace("--x", "--X" if boundary == "X" else "--x")
    assert fields_of(body.encode(), f"multipart/form-data; boundary={boundary}") == {"data": Field(b"{}")}


def test_fields_of_a_form_with_too_many_are_the_first() -> None:
    pairs = "&".join(f"x{i}=1" for i in range(2 * MAX_FIELDS))
    parts = "".join(part(f"x{i}", "1") for i in range(2 * MAX_FIELDS))
    assert "x98" in fields_of(pairs.encode(), URLENCODED)
    assert len(fields_of(pairs.encode(), URLENCODED)) == MAX_FIELDS
    assert fields_of(parts.encode(), MULTIPART)["x98"] == Field(b"1")
    assert len(fields_of(parts.encode(), MULTIPART)) == MAX_FIELDS - 1


@pytest.mark.parametrize(
    ("piece", "content_type"),
    [
        (b"--x\r\n\r\n\r\n", MULTIPART),
        (part("data", "").encode(), MULTIPART),
        (b"--x\r\n" + b"a: b\r\n" * 600, MULTIPART),
        (b"--x\r\nContent-Disposition: form-data" + b"; name" * 600, MULTIPART),
        (b"\r\n--", MULTIPART),
        (b"\n", MULTIPART),
        (b"&", URLENCODED),
        (b"data=&", URLENCODED),
        (b"%41", URLENCODED),
    ],
)
def test_fields_of_a_form_is_found_in_a_time_that_grows_with_its_size(piece: bytes, content_type: str) -> None:
    started = time.process_time()
    fields_of(piece * (LARGEST // len(piece)), content_type)
    assert time.process_time() - started < 5.0  # a parser that is not linear takes a minute


@pytest.mark.parametrize(
    ("content_type", "is_one"),
    [(MULTIPART, True), (URLENCODED, True), (URLENCODED + "; charset=utf-8", True), ("application/json", False)],
)
def test_form_is_told_by_its_type(content_type: str, is_one: bool) -> None:
    assert is_form(content_type) is is_one
