"""How a body comes (its type, a form, compressed) and how the answer is asked for: CSV, JSON Lines, options outside."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from typing import Any

import pytest

from handler.answers.answering import Answer, answer
from handler.models.fleet import Fleet
from handler.requests.limits import MAX_INFLATED_BYTES
from handler.requests.payload import Field, Request

CSV = b"area,depth\n3,1\n4,\n"
JSON = b'{"dataset": "north", "instances": [[3, 1], [4, null]]}'
LINES = b'{"area": 3, "depth": 1}\n{"area": 4}\n'
AT_NORTH: dict[str, Any] = {"dataset": "north"}
CSV_ANSWER = {"accept": "text/csv"}


def zipped(data: bytes) -> bytes:
    """Return data as gzip, without the time: workers of pytest-xdist must collect equal names of tests."""
    return gzip.compress(data, mtime=0)


def ask(fleet: Fleet, body: object = b"", content_type: str = "", **received: Any) -> Answer:
    [answered] = answer(fleet, [Request(body, content_type, **received)])
    return answered


def message(answered: Answer) -> str:
    return str(json.loads(answered.body)["message"])


@pytest.fixture
def plain(stores_fleet: Fleet) -> bytes:
    """The answer that each way of asking must give."""
    return ask(stores_fleet, JSON, "application/json").body


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        *[(one, CSV) for one in ("text/csv", "text/csv; charset=utf-8", "application/csv", "", "text/plain")],
        *[(one, JSON) for one in ("application/json", "", "application/octet-stream", "text/plain", "nonsense")],
        *[(one, LINES) for one in ("application/jsonlines", "application/x-ndjson")],
        ("application/jsonlines", b'{"features": [3, 1]}\n\n{"features": [4, null]}'),
        *[(one, b"\xef\xbb\xbf" + body) for one, body in (("", CSV), ("text/csv", CSV), ("application/json", JSON))],
        ("application/jsonlines", b"\xef\xbb\xbf" + LINES),
        ("", b"\xef\xbb\xbf  " + JSON),
    ],
)
def test_each_type_is_read(stores_fleet: Fleet, plain: bytes, content_type: str, body: bytes) -> None:
    assert ask(stores_fleet, body, content_type, **AT_NORTH).body == plain


@pytest.mark.parametrize(
    ("content_type", "fields"),
    [
        ("multipart/form-data; boundary=x", {"file": Field(CSV, "application/octet-stream")}),
        ("multipart/form-data; boundary=x", {"data": Field(CSV, "text/csv")}),
        ("multipart/form-data; boundary=x", {"body": Field(JSON)}),
        (
            "multipart/form-data; boundary=x",
            {"rows": Field(LINES, "application/jsonlines"), "dataset": Field(b"north")},
        ),
        ("application/x-www-form-urlencoded", {"data": Field(JSON)}),
        ("application/x-www-form-urlencoded", {"body": Field(bytearray(CSV))}),
        ("", {"data": Field(CSV)}),
        ("application/json", {"body": Field(JSON, "application/json"), "model_name": Field(b"stores")}),
    ],
)
def test_the_instances_are_one_field_of_a_form(
    stores_fleet: Fleet, plain: bytes, content_type: str, fields: dict[str, Field]
) -> None:
    dataset = None if "dataset" in fields else "north"
    assert ask(stores_fleet, content_type=content_type, form=fields, dataset=dataset).body == plain


@pytest.mark.parametrize(
    ("content_type", "fields", "said"),
    [
        ("application/x-www-form-urlencoded", {}, "curl -d"),
        ("application/x-www-form-urlencoded", {'{"instances": [["a': Field(b'b"]]}')}, "curl -d"),
        ("application/x-www-form-urlencoded; charset=utf-8", {"area": Field(b"3")}, "Content-Type: application/json"),
        ("multipart/form-data; boundary=x", {}, "curl -F data=@rows.csv"),
        ("multipart/form-data; boundary=x", {"interval": Field(b"0.9")}, "no field with instances"),
        ("multipart/form-data; boundary=x", {"a": Field(CSV), "b": Field(CSV)}, "has the fields ['a', 'b']"),
        ("multipart/form-data; boundary=x", {"a": Field(CSV), "interval": Field(b"\xff")}, "'interval' is not text"),
        ("multipart/form-data; boundary=x", {"a": Field(CSV), "interval": Field(b"much")}, "'interval' is 'much'"),
        ("multipart/form-data; boundary=x", {"a": Field(CSV), "extrapolation": Field(b"1")}, "give true or false"),
    ],
)
def test_a_form_without_one_field_of_instances_is_refused_with_what_to_send(
    stores_fleet: Fleet, content_type: str, fields: dict[str, Field], said: str
) -> None:
    answered = ask(stores_fleet, content_type=content_type, form=fields, **AT_NORTH)
    assert answered.status == 400
    assert said in message(answered)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", zipped(CSV)),
        ("GZIP ", zipped(CSV[:8]) + zipped(CSV[8:])),
        ("x-gzip", zipped(CSV)),
        ("deflate", zlib.compress(CSV)),
        ("deflate", zlib.compress(CSV, wbits=-15)),
        ("identity", CSV),
    ],
)
def test_compressed_bodies_are_inflated(stores_fleet: Fleet, plain: bytes, encoding: str, body: bytes) -> None:
    headers = {"content-encoding": encoding}
    assert ask(stores_fleet, bytearray(body), "text/csv", headers=headers, **AT_NORTH).body == plain


@pytest.mark.parametrize(
    ("encoding", "body", "status", "said"),
    [
        ("br", CSV, 415, "send gzip, deflate, or no compression"),
        ("gzip, gzip", CSV, 415, "send gzip"),
        ("gzip", CSV, 400, "leave the header out"),
        ("deflate", CSV, 400, "leave the header out"),
        ("gzip", zipped(CSV)[:-3], 400, "is not gzip"),
        ("gzip", zipped(CSV) + b"more", 400, "is not gzip"),
        ("gzip", zipped(b"") * 1001, 400, "is not gzip"),
        ("gzip", zipped(b" " * (MAX_INFLATED_BYTES + 1)), 413, "send fewer instances"),
        ("gzip", zipped(b" " * MAX_INFLATED_BYTES) + zipped(b"  "), 413, "send fewer instances"),
        ("deflate", zlib.compress(b" " * 10**8), 413, "send fewer instances"),
        ("gzip", "text", 400, "leave the header out"),
        ("gzip", b"", 400, "is not gzip"),
    ],
)
def test_what_does_not_inflate_within_the_bound_is_refused(
    stores_fleet: Fleet, encoding: str, body: object, status: int, said: str
) -> None:
    answered = ask(stores_fleet, body, "text/csv", headers={"content-encoding": encoding}, **AT_NORTH)
    assert (answered.status, json.loads(answered.body)["code"]) == (status, status)
    assert said in message(answered)


def test_a_csv_answer_has_the_columns_of_predict(stores_fleet: Fleet) -> None:
    whole = json.loads(ask(stores_fleet, JSON, "application/json", parameters={"interval": "0.9"}).body)
    answered = ask(stores_fleet, CSV, "text/csv", headers=CSV_ANSWER, parameters={"interval": "0.9"}, **AT_NORTH)
    assert answered.content_type == "text/csv"
    header, *rows = csv.reader(answered.body.decode().splitlines())
    assert header == ["prediction", "conf_low", "conf_high", "pred_low", "pred_high"]
    ends = zip(whole["intervals"]["confidence"], whole["intervals"]["prediction"], strict=True)
    expected = [
        [value, *confidence, *prediction]
        for value, (confidence, prediction) in zip(whole["predictions"], ends, strict=True)
    ]
    assert [[float(cell) for cell in row] for row in rows] == expected


@pytest.mark.parametrize(
    ("body", "accept", "is_headed"),
    [
        (CSV, "text/csv", True),
        (b"3,1\n4,\n", "text/csv", False),
        (JSON, "text/csv", True),
        (CSV, "text/csv; header=absent", False),
        (b"3,1\n4,\n", "text/csv;header=present", True),
    ],
)
def test_a_csv_answer_has_a_header_if_the_request_has_one(
    stores_fleet: Fleet, plain: bytes, body: bytes, accept: str, is_headed: bool
) -> None:
    lines = ask(stores_fleet, body, headers={"accept": accept}, **AT_NORTH).body.decode().splitlines()
    assert lines == ["prediction"] * is_headed + [repr(value) for value in json.loads(plain)["predictions"]]


@pytest.mark.parametrize(("accept", "missing"), [("text/csv", ",,,,"), ("application/jsonlines", '"pred_low": null')])
def test_a_row_without_an_interval_has_its_reason_in_the_table(stores_fleet: Fleet, accept: str, missing: str) -> None:
    body = b'{"instances": [[3]], "dataset": "bare", "interval": 0.9}'
    answered = ask(stores_fleet, body, headers={"accept": accept})
    assert answered.status == 200, answered.body
    last = answered.body.decode().splitlines()[-1]
    assert missing in last
    assert "without the statistics of intervals" in last


def test_rows_that_name_their_datasets_get_them_back(stores_fleet: Fleet) -> None:
    for names in (("north", "south"), ("north", "north")):
        body = f"dataset,area,depth\n{names[0]},3,1\n{names[1]},3,1\n"
        lines = ask(stores_fleet, body.encode(), "text/csv", headers=CSV_ANSWER).body.decode().splitlines()
        assert lines[0] == "prediction,dataset"
        assert [line.rpartition(",")[2] for line in lines[1:]] == list(names)


def test_json_lines_hold_all_that_belongs_to_an_instance(stores_fleet: Fleet) -> None:
    options = {"interval": "0.9", "extrapolation": "true", "explanations": "True"}
    headers = {"accept": "application/jsonlines"}
    answered = ask(stores_fleet, LINES, "application/jsonlines", headers=headers, parameters=options, **AT_NORTH)
    assert answered.content_type == "application/jsonlines"
    rows = [json.loads(line) for line in answered.body.splitlines()]
    assert list(rows[0]) == [
        *("prediction", "conf_low", "conf_high", "pred_low", "pred_high"),
        *("extrapolations", "explanations"),
    ]
    assert len(rows) == 2


def test_a_table_says_in_a_header_that_names_were_ignored(stores_fleet: Fleet) -> None:
    body = b"area,depth,id,a,b,c\n3,1,7,,,\n"
    answered = ask(stores_fleet, body, "text/csv", headers=CSV_ANSWER, parameters={"extra": "ignore"}, **AT_NORTH)
    assert answered.status == 200, answered.body
    assert "ignored" in answered.headers["Warning"]
    assert answered.body.decode().startswith("prediction\n")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/html, text/csv;q=0.5, */*;q=0.1", "text/csv"),
        ("text/csv;q=0.1, application/json", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("TEXT/CSV", "text/csv"),
        ("application/json, text/csv", "application/json"),
        ("text/csv;q=x, application/json", "application/json"),
    ],
)
def test_accept_picks_the_format_of_the_answer(stores_fleet: Fleet, accept: str, content_type: str) -> None:
    assert ask(stores_fleet, JSON, headers={"accept": accept}).content_type == content_type


@pytest.mark.parametrize("accept", ["application/x-npy", "text/html", ",", "text/csv;q=0", ";;=,q"])
def test_a_format_that_is_not_written_is_refused_with_those_that_are(stores_fleet: Fleet, accept: str) -> None:
    answered = ask(stores_fleet, JSON, headers={"accept": accept})
    assert answered.status == 406
    assert "ask for application/json, text/csv" in message(answered)


def test_a_csv_has_no_place_for_explanations(stores_fleet: Fleet) -> None:
    answered = ask(stores_fleet, CSV, "text/csv", headers=CSV_ANSWER, explain=True, **AT_NORTH)
    assert answered.status == 400
    assert "application/jsonlines" in message(answered)


@pytest.mark.parametrize(
    "received",
    [
        {"dataset": "north", "parameters": {"interval": "0.9"}},
        {"parameters": {"dataset": "north", "interval": "0.9", "model_name": "stores"}},
        {"headers": {"gridline-options": "dataset=north&interval=0.9"}},
        {"headers": {"x-amzn-sagemaker-custom-attributes": "dataset=north&interval=0.9&trace=7"}},
        {"dataset": "north", "headers": {"gridline-options": "dataset=north&interval=9e-1"}},
    ],
)
def test_options_may_stand_beside_the_body(stores_fleet: Fleet, received: dict[str, Any]) -> None:
    body = {"dataset": "north", "instances": [[3, 1], [4, None]], "interval": 0.9}
    expected = ask(stores_fleet, json.dumps(body).encode()).body
    assert ask(stores_fleet, CSV, "text/csv", **received).body == expected
    assert ask(stores_fleet, LINES, "application/jsonlines", **received).body == expected
    assert ask(stores_fleet, json.dumps(body).encode(), **received).body == expected
    assert ask(stores_fleet, json.dumps(body | {"dataset": ["north"] * 2}).encode(), **received).body == expected


@pytest.mark.parametrize(
    ("received", "said"),
    [
        ({"dataset": "south"}, "option 'dataset' is 'south' in the address"),
        ({"parameters": {"dataset": "south"}}, "option 'dataset' is 'south'"),
        ({"headers": {"gridline-options": "dataset=south"}}, "option 'dataset' is 'south'"),
        ({"parameters": {"interval": "0.8"}}, "option 'interval' is 0.8"),
        ({"parameters": {"intervall": "0.8"}}, "key 'intervall' is not known"),
        ({"headers": {"gridline-options": "trace=7"}}, "key 'trace' is not known"),
        ({"parameters": {"extra": "x"}}, "'extra' is 'x'"),
        ({"dataset": "north", "parameters": {"dataset": "south"}}, "option 'dataset'"),
    ],
)
def test_the_address_and_the_body_must_agree(stores_fleet: Fleet, received: dict[str, Any], said: str) -> None:
    body = {"dataset": "north", "instances": [[3, 1]], "interval": 0.9}
    answered = ask(stores_fleet, json.dumps(body).encode(), **received)
    assert answered.status == 400
    assert said in message(answered)


def test_a_list_of_datasets_must_be_that_of_the_address(stores_fleet: Fleet) -> None:
    body = {"dataset": ["north", "south"], "instances": [[3, 1]] * 2}
    answered = ask(stores_fleet, json.dumps(body).encode(), **AT_NORTH)
    assert answered.status == 400
    assert "give it once" in message(answered)


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"\x93NUMPY", "application/x-npy", "send application/json or text/csv"),
        (b"3,1", "nonsense", "the content type is 'nonsense'"),
        (b"3,1\n[", "application/jsonlines", "instance 0: the request is not JSON"),
        (b"[3, 1]\n7\n", "application/jsonlines", "instance 1 is a number"),
        (b"\n", "application/jsonlines", "is empty"),
        (b"area;depth", "", "no instances"),
    ],
)
def test_a_body_of_another_type_is_refused(stores_fleet: Fleet, body: bytes, content_type: str, said: str) -> None:
    answered = ask(stores_fleet, body, content_type, **AT_NORTH)
    assert answered.status == 400
    assert said in message(answered)
