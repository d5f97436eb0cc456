from __future__ import annotations

import time

import pytest

from model_store.asgi.bodies import RefusedBodyError
from model_store.asgi.forms import MAX_FIELDS, field_of_form, is_form

MULTIPART = "multipart/form-data; boundary=x"
LARGEST = 6_500_000
URLENCODED = "application/x-www-form-urlencoded"
PART = '--x\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n{type}\r\n{content}\r\n'


def part(name: str, content: str, kind: str = "", of_file: str = "") -> str:
    return PART.format(name=name, of_file=of_file, type=f"Content-Type: {kind}\r\n" if kind else "", content=content)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("data=%7B%7D", (b"{}", "")),
        ("data={}&body=[]", (b"[]", "")),
        ("data=a+b%20c", (b"a b c", "")),
        ("data=%C3%BC", ("ü".encode(), "")),
        ("other=1", (b"", "")),
        ("{}", (b"", "")),
        ("&".join(["x=1"] * 1000), (b"", "")),
    ],
)
def test_field_of_an_urlencoded_form(body: str, expected: tuple[bytes, str]) -> None:
    assert field_of_form(body.encode(), URLENCODED) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (part("data", "{}"), (b"{}", "")),
        (part("data", "{}", "application/json", '; filename="a.json"'), (b"{}", "application/json")),
        (part("other", "1") + part("body", "a,b\r\n1,2\r\n", "text/csv"), (b"a,b\r\n1,2\r\n", "text/csv")),
        (part("data", "ü"), ("ü".encode(), "")),
        (part("other", "{}"), (b"", "")),
        ("garbage", (b"", "")),
    ],
)
def test_field_of_a_multipart_form(body: str, expected: tuple[bytes, str]) -> None:
    content_type = "multipart/form-data; boundary=x"
    assert field_of_form(f"{body}--x--\r\n".encode(), content_type) == expected


def test_field_of_a_form_without_its_boundary_is_empty() -> None:
    assert field_of_form(part("data", "{}").encode(), "multipart/form-data") == (b"", "")


@pytest.mark.parametrize("body", ["data=%", "data=%4", "data=%zz", "%=1", "data=" + "%" * 1000])
def test_field_of_a_form_with_a_malformed_escape_is_refused(body: str) -> None:
    with pytest.raises(RefusedBodyError) as caught:
        field_of_form(body.encode(), URLENCODED)
    assert caught.value.response.status == 400


@pytest.mark.parametrize("boundary", ['"x"', "x; charset=utf-8", "X"])
def test_field_of_a_multipart_form_whose_boundary_is_written_in_another_way(boundary: str) -> None:
    body = f"{part('data', '{}')}--x--\r\n".replace("--x", "--X" if boundary == "X" else "--x")
    assert field_of_form(body.encode(), f"multipart/form-data; boundary={boundary}") == (b"{}", "")


def test_field_of_a_form_with_too_many_fields_is_empty_but_the_first_are_read() -> None:
    assert field_of_form(("x=1&" * MAX_FIELDS + "data={}").encode(), URLENCODED) == (b"", "")
    assert field_of_form(("data={}" + "&x=1" * MAX_FIELDS).encode(), URLENCODED) == (b"{}", "")


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
def test_field_of_a_form_is_found_in_a_time_that_grows_with_its_size(piece: bytes, content_type: str) -> None:
    started = time.process_time()
    field_of_form(piece * (LARGEST // len(piece)), content_type)
    assert time.process_time() - started < 5.0  # a parser that is not linear takes a minute


@pytest.mark.parametrize(
    ("content_type", "is_one"),
    [(MULTIPART, True), (URLENCODED, True), (URLENCODED + "; charset=utf-8", True), ("application/json", False)],
)
def test_form_is_told_by_its_type(content_type: str, is_one: bool) -> None:
    assert is_form(content_type) is is_one
