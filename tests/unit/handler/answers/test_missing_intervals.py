"""A row that can't have an interval has null, and the reason, and the other rows have theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.answers.answering import answer
from handler.models.dependence import undetermined_weights
from handler.models.fleet import Fleet
from handler.models.stack import Stack
from handler.requests.payload import Request
from model_store import open_ledger
from model_store.archives.version_fleet import fleet_of_version
from tests.samples.dependent import moments, served, stack_of
from tests.samples.fleets import PLAIN, commit_models, fitted, sample_stores

RANDOM = np.random.default_rng(1)
C = RANDOM.normal(15, 5, 40)


def fit(*columns: Any, names: tuple[str, ...]) -> Stack:
    x_nd = np.column_stack(columns)
    return stack_of(moments(x_nd, x_nd[:, 0] + RANDOM.normal(size=len(x_nd))), names)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Datasets: both scales of a temperature; few rows; many dependent columns; and those of the sample."""
    ledger = open_ledger(str(tmp_path_factory.mktemp("store")))
    wide = [C * (at + 1) for at in range(80)]
    models = {
        "scales": fit(C, 1.8 * C + 32, np.full(40, 7.0), names=("celsius", "fahrenheit", "floor")),
        "few": fit(*RANDOM.normal(size=(2, 3)), names=("a", "b")),
        "wide": fit(*wide, names=tuple(f"c{at}" for at in range(80))),
        "squares": fit(C, names=("a",)),
        "full": fitted(PLAIN, 6),  # of the card of 'bare', so that they share a stack
    }
    return fleet_of_version(commit_models(ledger, "t", models | sample_stores()))


def intervals(fleet: Fleet, **request: Any) -> dict[str, Any]:
    document = asked(fleet, interval=0.9, **request)
    found: dict[str, Any] = document["intervals"]
    return found


def asked(fleet: Fleet, **request: Any) -> dict[str, Any]:
    [answered] = answer(fleet, [Request(json.dumps(request).encode())])
    assert answered.status == 200, answered.body
    document: dict[str, Any] = json.loads(answered.body)
    return document


def test_a_row_that_breaks_a_dependence_has_the_reason_and_the_others_their_intervals(fleet: Fleet) -> None:
    rows = [[20, 68, 7], [20, 70, 7], [20, 68, 8], [-10, 14, 7]]
    found = intervals(fleet, dataset="scales", instances=rows)
    assert [bounds is None for bounds in found["confidence"]] == [False, True, True, False]
    assert [bounds is None for bounds in found["prediction"]] == [False, True, True, False]
    assert found["reasons"] == [
        None,
        "the row breaks what all training rows of dataset 'scales' keep, so they say nothing of it: 'fahrenheit' is "
        "1.8 × 'celsius' + 32, and here it is 70, not 68: give values that keep it",
        "the row breaks what all training rows of dataset 'scales' keep, so they say nothing of it: 'floor' is 7, and "
        "here it is 8, not 7: give values that keep it",
        None,
    ]


def test_a_row_that_breaks_a_dependence_is_an_extrapolation(fleet: Fleet) -> None:
    rows = [[20, 68, 7], [20, 70, 7], [20, 68, 8]]
    found = asked(fleet, dataset="scales", instances=rows, extrapolation=True)["extrapolations"]
    assert found == [
        [],
        [{"feature": "fahrenheit", "value": 70, "expected": 68, "dependence": "'fahrenheit' is 1.8 × 'celsius' + 32"}],
        [{"feature": "floor", "value": 8, "expected": 7, "dependence": "'floor' is 7"}],
    ]
    row = [20.0 * (at + 1) for at in range(80)]
    [[many]] = asked(fleet, dataset="wide", instances=[[*row[:50], 7, *row[51:]]], extrapolation=True)["extrapolations"]
    assert many["feature"] is None
    assert many["dependence"].startswith("a dependence between columns; those that depend on others are ['c0', 'c1'")


def test_the_remedy_of_a_broken_dependence_works(fleet: Fleet) -> None:
    [reason] = intervals(fleet, dataset="scales", instances=[[21.37, 70, 7]])["reasons"]
    said = float(reason.rpartition(", not ")[2].partition(":")[0])
    assert said == 70.466
    assert "reasons" not in intervals(fleet, dataset="scales", instances=[[21.37, 70.466, 7]])


def test_answers_without_a_missing_interval_have_no_reasons(fleet: Fleet) -> None:
    assert "reasons" not in intervals(fleet, dataset="scales", instances=[[20, 68, 7]])


def test_each_dataset_of_a_request_has_its_own_reason(fleet: Fleet) -> None:
    rows: list[Any] = [
        {"dataset": "few", "a": 1, "b": 2},
        {"dataset": "bare", "area": 4},
        {"dataset": "squares", "a": 15},
        {"dataset": "squares", "a": 1e200},
        {"dataset": "few", "a": 2, "b": 2},
    ]
    found = intervals(fleet, instances=rows)
    few = (
        "dataset 'few' has 3 training rows for the 3 weights that they determine, which leaves none to tell the error "
        "by: train it with more rows, or fewer features"
    )
    bare = (
        "dataset 'bare' was trained without the statistics of intervals: set training.inference_statistics to true, "
        "and train it again"
    )
    assert found["reasons"] == [few, bare, None, "the interval is beyond float64: give smaller values", few]
    assert [bounds is None for bounds in found["prediction"]] == [True, True, False, True, True]


def test_a_row_that_breaks_one_of_many_dependences_has_a_short_reason(fleet: Fleet) -> None:
    row = [20.0 * (at + 1) for at in range(80)]
    row[50] += 1
    [reason] = intervals(fleet, dataset="wide", instances=[row])["reasons"]
    assert "all training rows of dataset 'wide' keep, so they say nothing of it: a dependence between" in reason
    assert reason.endswith("and 68 more: give values that keep it")


def test_a_missing_interval_is_null_in_a_tensor_which_numpy_reads_as_nan(fleet: Fleet) -> None:
    tensors = [
        {"name": name, "shape": [2], "datatype": "FP64", "data": data}
        for name, data in (("celsius", [20, 20]), ("fahrenheit", [68, 70]), ("floor", [7, 7]))
    ]
    document = asked(fleet, inputs=tensors, parameters={"dataset": "scales", "interval": 0.9})
    outputs = {output["name"]: output for output in document["outputs"]}
    bounds = np.array(outputs["prediction_interval"]["data"], dtype=np.float64).reshape(2, 2)
    assert np.isnan(bounds).tolist() == [[False, False], [True, True]]
    assert outputs["interval_reasons"]["data"][0] == ""
    assert outputs["interval_reasons"]["data"][1].startswith("the row breaks")


def test_a_missing_interval_is_nan_in_a_binary_tensor(fleet: Fleet) -> None:
    tensors = [{"name": "area", "shape": [1], "datatype": "FP64", "data": [4]}]
    asks = [{"name": "interval_reasons"}, {"name": "confidence_interval", "parameters": {"binary_data": True}}]
    body = {"inputs": tensors, "outputs": asks, "parameters": {"dataset": "bare", "interval": 0.9}}
    [answered] = answer(fleet, [Request(json.dumps(body).encode())])
    length = int(answered.headers["Inference-Header-Content-Length"])
    reasons, bounds = json.loads(answered.body[:length])["outputs"]
    assert (answered.status, bounds["shape"]) == (200, [1, 2])
    assert np.isnan(np.frombuffer(answered.body[length:])).tolist() == [True, True]
    assert reasons["data"][0].startswith("dataset 'bare' was trained without")


def test_more_reasons_than_an_answer_may_have_are_refused(fleet: Fleet) -> None:
    option = {"interval": 0.9}
    rows = [[20, 70, 7]] * 100_000
    [refused] = answer(fleet, [Request(json.dumps({"dataset": "scales", "instances": rows, **option}).encode())])
    message = json.loads(refused.body)["message"]
    found = re.search(r"send at most (\d+) instances at a time", message)
    assert found, message
    assert len(asked(fleet, dataset="scales", instances=rows[: int(found[1])], **option)["predictions"]) > 50_000


def test_a_dataset_without_statistics_is_told_from_others_of_its_card(fleet: Fleet) -> None:
    rows = [{"dataset": name, "area": 4} for name in ("full", "bare", "full")]
    found = intervals(fleet, instances=rows)
    assert [bounds is None for bounds in found["confidence"]] == [False, True, False]
    assert found["reasons"][1].startswith("dataset 'bare' was trained without the statistics of intervals")
    [refused] = answer(fleet, [Request(json.dumps({"instances": rows, "explanations": True}).encode())])
    assert json.loads(refused.body)["message"] == (
        "instance 1: dataset 'bare' was stored without the mean of its training rows, against which predictions are "
        "explained: train it again, or leave 'explanations' out"
    )
    assert "explanations" in asked(fleet, instances=[rows[0], rows[2]], explanations=True)


def test_explanations_of_dependent_columns_add_up(fleet: Fleet) -> None:
    document = asked(fleet, dataset="scales", instances=[[20, 68, 7], [20, 70, 8]], explanations=True)
    for explained, prediction in zip(document["explanations"], document["predictions"], strict=True):
        assert explained["baseline"] + sum(explained["contributions"].values()) == pytest.approx(prediction)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((C, C**2), [False, False, False]),
        ((C, C, C**2), [True, True, False, False]),
        ((C, 1.8 * C + 32), [True, True, True]),
        ((C, np.full(40, 7.0)), [False, True, True]),
        ((1.7e9 + C, 1000 * (1.7e9 + C), C**2), [True, True, False, False]),
        ((C, 1e-9 * C, C**2 * 1e9), [True, True, False, False]),
    ],
)
def test_open_weights_are_those_that_a_dependence_moves(columns: tuple[Any, ...], expected: list[bool]) -> None:
    x_nd = np.column_stack(columns)
    assert undetermined_weights(served(moments(x_nd, C)), 0).tolist() == expected


def test_rows_of_many_models_have_their_reasons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("handler.answers.broken_dependences.MAX_MODELS", 2)
    many = {f"m{at}": fit(C, 1.8 * C + 32 + at, names=("celsius", "fahrenheit")) for at in range(3)}
    fleet = fleet_of_version(commit_models(open_ledger(str(tmp_path)), "t", many))
    rows = [{"dataset": f"m{at}", "celsius": 20, "fahrenheit": 68 + at + off} for off in (1, 0, 2) for at in (2, 0, 1)]
    reasons = intervals(fleet, instances=rows)["reasons"]
    assert [reason is None for reason in reasons] == [False] * 3 + [True] * 3 + [False] * 3
    for at, reason in ((1, reasons[1]), (2, reasons[5 + 3])):
        assert f"dataset 'm{at - 1}'" in reason
        assert "'fahrenheit' is 1.8 × 'celsius' + 3" in reason
    assert "dataset 'm2' keep, so they say nothing of it: a dependence between columns: give" in reasons[0]
