from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from handler.answers.answering import answer
from handler.models.fleet import Fleet
from handler.models.stack import Stack
from handler.models.text_table import NameIndex
from handler.requests.limits import MAX_INSTANCES
from handler.requests.payload import Request
from handler.rows.encoding import encode
from handler.rows.model_card import Feature, ModelCard
from tests.samples.fleets import COLORED, DEEP, PLAIN, sample_stores

Json = dict[str, Any]


def ask(fleet: Fleet, body: object, content_type: str = "application/json", **address: Any) -> tuple[int, Json]:
    """Return status and document for one request; a body that is no text is sent as JSON."""
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    [answered] = answer(fleet, [Request(content, content_type, **address)])
    return answered.status, json.loads(answered.body)


def expected(dataset: str, **values: list[Any]) -> list[float]:
    """Return the predictions as matrix products give them."""
    stack = sample_stores()[dataset]
    columns = {name: np.array(value, dtype=object if name == "color" else float) for name, value in values.items()}
    fill_k = None if stack.statistics is None else stack.statistics.fill_mk[0].numpy()
    bias = 0.0 if stack.bias_m is None else float(stack.bias_m[0])
    return (encode(stack.card, columns, fill_k) @ stack.weight_md[0].numpy() + bias).tolist()


NORTH = expected("north", area=[3], depth=[1])[0]


@pytest.mark.parametrize(
    "body",
    [
        {"dataset": "north", "instances": [[3, 1]]},
        {"dataset": "north", "instances": [{"area": 3, "depth": 1}]},
        {"dataset": "north", "instances": [{"depth": "1", "area": " 3.0 "}]},
        {"dataset": "north", "instances": [{"area": [3], "depth": [1]}]},
        {"dataset": ["north"], "instances": [[3, 1]]},
        {"instances": [{"dataset": "north", "area": 3, "depth": 1}]},
        {"instances": [[3, 1]], "parameters": {"dataset": "north"}},
    ],
)
def test_answer_takes_rows_and_objects_of_numbers_and_of_their_strings(stores_fleet: Fleet, body: Json) -> None:
    status, document = ask(stores_fleet, body)
    assert status == 200
    assert document["predictions"] == pytest.approx([NORTH], rel=1e-12)
    assert document["model"]["collection"] == "stores"


@pytest.mark.parametrize(("truth", "number"), [(True, 1), (False, 0)])
def test_answer_counts_a_boolean_as_a_number(stores_fleet: Fleet, truth: bool, number: int) -> None:
    _, document = ask(stores_fleet, {"dataset": "north", "instances": [[3, truth], [3, number]]})
    assert document["predictions"] == expected("north", area=[3, 3], depth=[number, number])


def test_answer_names_collection_version_and_dataset(stores_fleet: Fleet) -> None:
    _, document = ask(stores_fleet, {"dataset": "north", "instances": [[3, 1]]})
    assert document["model"] == {"collection": "stores", "version": 1, "dataset": "north"}
    assert list(document) == ["predictions", "model"]


def test_answer_to_a_mixed_batch_is_in_the_order_of_the_instances(stores_fleet: Fleet) -> None:
    instances = [
        {"dataset": "east", "area": 2, "color": "red"},
        {"dataset": "north", "area": 3, "depth": 1},
        {"dataset": "bare", "area": 9},
        {"dataset": "south", "area": 3, "depth": None},
        {"dataset": "east", "area": 2, "color": "never seen"},
    ]
    status, document = ask(stores_fleet, {"instances": instances})
    assert status == 200, document
    assert document["model"]["dataset"] == ["east", "north", "bare", "south", "east"]
    one_by_one = [
        expected("east", area=[2], color=["red"]),
        [NORTH],
        expected("bare", area=[9]),
        expected("south", area=[3], depth=[np.nan]),
        expected("east", area=[2], color=["blue"]),
    ]
    assert document["predictions"] == pytest.approx([value for [value] in one_by_one], rel=1e-12)


def test_answer_takes_open_inference_tensors(stores_fleet: Fleet) -> None:
    tensors = [
        {"name": "area", "shape": [2], "datatype": "FP64", "data": [3, 4]},
        {"name": "depth", "shape": [2, 1], "datatype": "FP32", "data": [[1], [2]]},
    ]
    status, document = ask(
        stores_fleet, {"id": "7", "inputs": tensors, "parameters": {"dataset": "north", "interval": 0.9}}
    )
    assert status == 200, document
    assert (document["id"], document["model_name"], document["model_version"]) == ("7", "stores", "1")
    outputs = {tensor["name"]: tensor for tensor in document["outputs"]}
    assert outputs["predictions"]["data"] == pytest.approx(expected("north", area=[3, 4], depth=[1, 2]), rel=1e-12)
    assert outputs["prediction_interval"]["shape"] == [2, 2]
    assert len(outputs["confidence_interval"]["data"]) == 4


def test_answer_takes_one_tensor_with_all_features_in_order(stores_fleet: Fleet) -> None:
    tensor = {"name": "instances", "shape": [2, 2], "datatype": "FP64", "data": [3, 1, 4, 2]}
    status, document = ask(stores_fleet, {"inputs": [tensor], "parameters": {"dataset": "north"}})
    assert status == 200, document
    assert document["outputs"][0]["data"] == pytest.approx(expected("north", area=[3, 4], depth=[1, 2]), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("depth,area\n1,3\n,4\n", {"area": [3, 4], "depth": [1, np.nan]}),
        ("3,1\r\n4,2\r\n", {"area": [3, 4], "depth": [1, 2]}),
    ],
)
def test_answer_takes_csv_with_and_without_a_header(stores_fleet: Fleet, text: str, values: Json) -> None:
    status, document = ask(stores_fleet, text, "text/csv; charset=utf-8", dataset="north")
    assert status == 200, document
    assert document["predictions"] == pytest.approx(expected("north", **values), rel=1e-12)


def test_answer_takes_csv_with_a_column_of_datasets(stores_fleet: Fleet) -> None:
    status, document = ask(stores_fleet, "dataset,area,depth\nnorth,3,1\nsouth,3,1\n", "text/csv")
    assert status == 200, document
    assert document["predictions"] == pytest.approx([NORTH, expected("south", area=[3], depth=[1])[0]], rel=1e-12)


def test_answer_gives_intervals_extrapolations_and_explanations_on_request(stores_fleet: Fleet) -> None:
    asked = {"interval": 0.95, "extrapolation": True, "explanations": True}
    status, document = ask(stores_fleet, {"dataset": "north", "instances": [[3, 1], [100, 1]], **asked})
    assert status == 200, document
    intervals = document["intervals"]
    for row, prediction in enumerate(document["predictions"]):
        (low, high), (wider_low, wider_high) = intervals["confidence"][row], intervals["prediction"][row]
        assert wider_low < low < prediction < high < wider_high
    [inside, [outside]] = document["extrapolations"]
    assert inside == []
    assert (outside["feature"], outside["value"]) == ("area", 100.0)
    assert outside["minimum"] < outside["maximum"] < 100
    for explained, prediction in zip(document["explanations"], document["predictions"], strict=True):
        assert explained["baseline"] + sum(explained["contributions"].values()) == pytest.approx(prediction, rel=1e-12)


def test_answer_adds_the_levels_of_a_feature_up_in_an_explanation(stores_fleet: Fleet) -> None:
    status, document = ask(stores_fleet, {"dataset": "east", "instances": [[2, "red"]], "explanations": True})
    assert status == 200, document
    assert sorted(document["explanations"][0]["contributions"]) == ["area", "color"]


REFUSED = [
    ("", "empty"),
    ("   ", "empty"),
    ("{", "not JSON"),
    ("[1, 2]", "send an object"),
    ("17", "send an object"),
    ("null", "send an object"),
    ('"text"', "send an object"),
    ("[" * 100_000, "nested too deep"),
    ('{"instances": ' + "[" * 500 + "]" * 500 + "}", "names no dataset"),
    ('{"dataset": "north", "dataset": "south", "instances": [[3, 1]]}', "'dataset' occurs twice"),
    ('{"dataset": "north", "instances": [{"area": 3, "area": 4, "depth": 1}]}', "'area' occurs twice"),
    ('{"dataset": "north", "instances": [[3, ' + "9" * 5000 + "]]}", "not JSON"),
    ('{"dataset": "north", "instances": [[3, 1' + "0" * 400 + "]]}", "integer of many digits"),
    ('{"dataset": "north", "instances": [[3, 1e999]]}', "'depth' has value inf"),
    ('{"dataset": "north", "instances": [[NaN, 1]]}', "'area' has value nan"),
    ('{"dataset": "north", "instances": [[-Infinity, 1]]}', "'area' has value -inf"),
    ({"instances": [[3, 1]]}, "names no dataset"),
    ({"dataset": "north"}, "'instances' is missing"),
    ({"dataset": "north", "instances": []}, "no instances"),
    ({"dataset": "north", "instances": {}}, "'instances' is an object"),
    ({"dataset": "north", "instances": [3]}, "instance 0 is 3"),
    ({"dataset": "north", "instances": [[3, 1], {"area": 3}]}, "instance 1 is an object"),
    ({"dataset": "north", "instances": [[3, 1], [3]]}, "instance 1 has 1 values"),
    ({"dataset": "north", "instances": [[3, 1, 2]]}, "instance 0 has 3 values"),
    ({"dataset": "north", "instances": [{"area": 3, "depht": 1}]}, "['area', 'depth']: did you mean 'depth'?"),
    ({"dataset": "north", "instances": [{"depth": 1}]}, "instance 0: feature 'area' is missing"),
    ({"dataset": "north", "instances": [[3, 1], [None, 1]]}, "instance 1: feature 'area' is missing"),
    ({"dataset": "north", "instances": [["wide", 1]]}, "feature 'area' has value 'wide'"),
    ({"dataset": "north", "instances": [["1_000", 1]]}, "feature 'area' has value '1_000'"),
    ({"dataset": "north", "instances": [[[3, 4], 1]]}, "feature 'area' has value a list of 2"),
    ({"dataset": "north", "instances": [[{}, 1]]}, "feature 'area' has value an object"),
    ({"dataset": "north", "instances": [[3, -1]]}, "instance 0: feature 'depth' has value -1.0, which is outside"),
    ({"dataset": "north", "instances": [[1e308, 1]], "x": 1}, "key 'x' is not known"),
    ({"dataset": "north", "instances": [[3, 1]], "interval": 95}, "'interval' is 95"),
    ({"dataset": "north", "instances": [[3, 1]], "interval": True}, "'interval' is True"),
    ({"dataset": "north", "instances": [[3, 1]], "interval": [[[]]]}, "'interval' is a list"),
    ({"dataset": "north", "instances": [[3, 1]], "explanations": 1}, "'explanations' is 1"),
    ({"dataset": "bare", "instances": [[3]], "explanations": True}, "instance 0: dataset 'bare' was stored without"),
    ({"dataset": 1.5, "instances": [[3, 1]]}, "'dataset' is a number"),
    ({"dataset": ["north", "south"], "instances": [[3, 1]]}, "2 names for 1 instances"),
    ({"dataset": ["north", 2], "instances": [[3, 1], [3, 1]]}, "'dataset' is a list"),
    ({"instances": [{"dataset": "north", "area": 3, "depth": 1}, {"area": 3, "depth": 1}]}, "instance 1: 'dataset'"),
    ({"dataset": "east", "instances": [[3, 1.5]]}, "feature 'color' has value 1.5"),
    ({"dataset": "east", "instances": [[3, None]]}, "feature 'color' is missing"),
    ({"inputs": [], "parameters": {"dataset": "north"}}, "'inputs' is not a list of tensors"),
    ({"inputs": [{"name": "area"}], "parameters": {"dataset": "north"}}, "'datatype'"),
    ({"inputs": [{"name": "a", "shape": [1], "datatype": [], "data": [1]}]}, "'datatype'"),
    ({"inputs": [{"name": "a", "shape": [1, 1, 1], "datatype": "FP64", "data": [1]}]}, "'shape'"),
    ({"inputs": [{"name": "instances", "shape": [0, 10**9], "datatype": "FP64", "data": []}]}, "'shape'"),
    ({"inputs": [{"name": "a", "shape": [2], "datatype": "FP64", "data": [1]}]}, "'data' has 1 values"),
    ({"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1], "x": 1}]}, "unknown key 'x'"),
    ({"inputs": 3}, "'inputs' is not a list of tensors"),
    ({"dataset": "north", "instances": [[3, 1]], "id": 3}, "'id' is a number"),
    ({"dataset": "north", "instances": [[3, 1]], "parameters": []}, "'parameters' is a list"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_answer_refuses_with_a_message_that_says_what_is_wrong(stores_fleet: Fleet, body: object, message: str) -> None:
    status, document = ask(stores_fleet, body)
    assert (status, document["code"]) == (400, 400)
    assert message in document["message"]
    assert len(document["message"]) < 400
    assert "\n" not in document["message"]


def test_answer_refuses_a_prediction_that_overflows() -> None:
    stack = Stack(ModelCard("y", (Feature("area"),)), torch.tensor([[10.0]], dtype=torch.float64), torch.zeros(1))
    where = np.zeros(1, np.int32)
    fleet = Fleet("steep", 1, NameIndex.of(["only"]), where, where, (stack.arrays(),))
    status, document = ask(fleet, {"instances": [[1], [1e308]]})
    assert status == 400
    assert "instance 1: its prediction is beyond float64" in document["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"dataset": "west", "instances": [[3, 1]]}, "dataset 'west' is not in version 1 of collection 'stores'"),
        ({"dataset": "", "instances": [[3, 1]]}, "dataset '' is not"),
        ({"dataset": 17, "instances": [[3, 1]]}, "dataset '17' is not"),
        ({"dataset": "\ud800", "instances": [[3, 1]]}, "is not in version 1"),
        ({"dataset": ["north", "x" * 500], "instances": [[3, 1], [3, 1]]}, "instance 1: dataset 'xxx"),
    ],
)
def test_answer_to_an_unknown_dataset_is_404(stores_fleet: Fleet, body: Json, message: str) -> None:
    status, document = ask(stores_fleet, body)
    assert (status, document["code"]) == (404, 404)
    assert message in document["message"]
    assert len(document["message"]) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("area,depth\n3\n", "instance 0: the line has 1 cells"),
        ("area,area\n3,1\n", "repeats a name"),
        ("area,depth\n", "no instances"),
        ("area,depth\n3,x\n", "instance 0: feature 'depth' has value 'x'"),
        ("area,width\n3,1\n", "feature 'width' is not known"),
        ('"area\n', "not CSV"),
        ("3,1,2\n", "3 values each"),
    ],
)
def test_answer_refuses_csv_that_does_not_fit(stores_fleet: Fleet, text: str, message: str) -> None:
    status, document = ask(stores_fleet, text, "text/csv", dataset="north")
    assert status == 400
    assert message in document["message"]


def test_answer_refuses_bytes_that_are_not_utf_8(stores_fleet: Fleet) -> None:
    for content_type in ("application/json", "text/csv"):
        [answered] = answer(stores_fleet, [Request(b"\xff\xfe\x00", content_type)])
        assert answered.status == 400


def test_answer_refuses_too_many_instances(stores_fleet: Fleet) -> None:
    status, document = ask(stores_fleet, {"dataset": "north", "instances": [[3, 1]] * (MAX_INSTANCES + 1)})
    assert status == 400
    assert f"at most {MAX_INSTANCES}" in document["message"]


def test_a_wrong_request_does_not_touch_the_others_of_its_batch(stores_fleet: Fleet) -> None:
    bodies = [
        b'{"dataset": "north", "instances": [[3, 1]]}',
        b'{"dataset": "north", "instances": [[3, 1], [3, -2]]}',
        b"{",
        b'{"dataset": "south", "instances": [[NaN, 1]]}',
        b'{"instances": [{"dataset": "south", "area": 3, "depth": 1}, {"dataset": "east", "area": 1, "color": "red"}]}',
        b'{"instances": [{"dataset": "south", "area": 3}, {"dataset": "east", "area": NaN, "color": "red"}]}',
        b'{"dataset": "nowhere", "instances": [[3, 1]]}',
        b'{"dataset": "north", "instances": [[3, 1]], "interval": 0.9}',
    ]
    answers = answer(stores_fleet, [Request(body) for body in bodies])
    assert [one.status for one in answers] == [200, 400, 400, 400, 200, 400, 404, 200]
    assert json.loads(answers[0].body)["predictions"] == pytest.approx([NORTH])
    assert "instance 1: feature 'depth'" in json.loads(answers[1].body)["message"]
    assert "instance 1: feature 'area'" in json.loads(answers[5].body)["message"]
    assert [one.reason for one in answers] == [None, "value", "payload", "value", None, "value", "dataset", None]


def test_answer_counts_rows_and_extrapolations(stores_fleet: Fleet) -> None:
    body = json.dumps({"dataset": "north", "instances": [[3, 1], [1000, 1], [1000, 400]]}).encode()
    [answered] = answer(stores_fleet, [Request(body)])
    assert (answered.num_rows, answered.num_extrapolations) == (3, 2)


def test_answer_takes_what_a_server_decoded_itself(stores_fleet: Fleet) -> None:
    [answered] = answer(stores_fleet, [Request({"dataset": "north", "instances": [[3, 1]]})])
    assert answered.status == 200
    for body in (17, [1], None, 2.5):
        assert answer(stores_fleet, [Request(body)])[0].status == 400


def test_a_card_keeps_the_columns_of_its_groups_and_equals_a_card_without() -> None:
    grouped = ModelCard("y", (Feature("area"),), group_by=("store", "region"), group_prefix="sales/")
    found = ModelCard.from_json(grouped.to_json())
    assert (found.group_by, found.group_prefix) == (("store", "region"), "sales/")
    assert ModelCard.from_json(ModelCard("y", (Feature("area"),)).to_json()) == grouped
    assert "group" not in ModelCard("y", (Feature("area"),)).to_json()


def test_cards_of_the_sample_differ() -> None:
    assert len({card.to_json() for card in (DEEP, COLORED, PLAIN)}) == 3


@pytest.mark.parametrize("mark", ["", " ", "NA", "None", "-", "#N/A", "nan"])
def test_answer_takes_the_marks_of_a_missing_value_that_files_have(stores_fleet: Fleet, mark: str) -> None:
    status, document = ask(stores_fleet, f"dataset,area,depth\nnorth,3,{mark}\n", "text/csv")
    assert (status, document["predictions"]) == (200, expected("north", area=[3], depth=[np.nan]))
    status, document = ask(stores_fleet, {"dataset": "north", "instances": [[3, mark]]})
    assert (status, document["predictions"]) == (200, expected("north", area=[3], depth=[np.nan]))


def test_answer_refuses_a_missing_value_that_nothing_replaces(stores_fleet: Fleet) -> None:
    status, document = ask(stores_fleet, "dataset,area,depth\nnorth,NA,1\n", "text/csv")
    assert status == 400
    assert document["message"] == "instance 0: feature 'area' has value 'NA', which is missing: give a number"


def test_answer_counts_truths_of_csv_as_numbers_and_keeps_text_of_categories(stores_fleet: Fleet) -> None:
    _, document = ask(stores_fleet, "dataset,area,depth\nnorth,3,True\nnorth,3,no\n", "text/csv")
    assert document["predictions"] == expected("north", area=[3, 3], depth=[1, 0])
    _, document = ask(stores_fleet, "true,false\n", "text/csv", dataset="north")
    assert document["predictions"] == expected("north", area=[1], depth=[0])
    _, document = ask(stores_fleet, "dataset,area,color\neast,3, green \neast,3,001\n", "text/csv")
    assert document["predictions"] == expected("east", area=[3, 3], color=["green", "001"])
