"""Bounds of what a request costs that depend on the models: cards, columns, intervals, the size of the answer."""

from __future__ import annotations

import gc
import json
import re
import time
from typing import Any

import numpy as np
import pytest
import torch

from handler.answers.answering import Answer, answer
from handler.answers.collector import PausedCollector
from handler.models.fleet import Fleet
from handler.models.stack import ServedStack, Stack, Statistics
from handler.models.text_table import NameIndex
from handler.requests.limits import MAX_ANSWER_BYTES, MAX_CARDS, MAX_ENCODED, MAX_QUANTILES, MAX_VALUES
from handler.requests.payload import Request
from handler.rows.model_card import Feature, ModelCard

Json = dict[str, Any]


def models(card: ModelCard, number: int = 1) -> ServedStack:
    """Return models with statistics, each trained on another number of rows; they know values from 0 to 1."""
    d, k = card.num_columns, len(card.features)
    rows = torch.arange(number, dtype=torch.float64) + d + 10
    nothing_mk, zero_mk = torch.full((number, k), torch.nan).double(), torch.zeros(number, k).double()
    inverse_mpp = torch.eye(d + 1).double().expand(number, d + 1, d + 1).clone()
    statistics = Statistics(
        nothing_mk,
        zero_mk,
        zero_mk + 1,
        torch.zeros(number, d).double(),
        rows,
        inverse_mpp,
        torch.ones(number).double(),
    )
    return Stack(card, torch.ones(number, d).double(), torch.zeros(number).double(), statistics).arrays()


def fleet_of(*stacks: ServedStack) -> Fleet:
    """Return the fleet of these stacks; model 3 of stack 2 is dataset `2-3`."""
    places = [(stack, row) for stack, models in enumerate(stacks) for row in range(len(models.weight_md))]
    stack_n, row_n = np.array(places, np.int32).T
    return Fleet("c", 1, NameIndex.of([f"{stack}-{row}" for stack, row in places]), stack_n, row_n, stacks)


def numeric(*names: str) -> ModelCard:
    return ModelCard("y", tuple(map(Feature, names)))


def ask(fleet: Fleet, **body: Any) -> Answer:
    [answered] = answer(fleet, [Request(json.dumps(body).encode())])
    return answered


def message(answered: Answer) -> str:
    assert answered.status == 400, answered.body[:200]
    return str(json.loads(answered.body)["message"])


def cards(number: int) -> list[Json]:
    """Return an instance for each of many datasets with another feature each."""
    return [{"dataset": f"{card}-0", f"f{card}": 5} for card in range(number)]


def test_a_mixed_request_costs_as_much_as_it_has_rows() -> None:
    fleet = fleet_of(*[models(numeric(f"f{card}")) for card in range(4000)])

    def cpu_s(number: int) -> float:
        started = time.process_time()
        assert ask(fleet, instances=cards(number)).status == 200
        return time.process_time() - started

    cpu_s(100)
    assert cpu_s(4000) < 40 * max(cpu_s(400), 0.005)  # 100 times as long, if each card is looked for in each row


def test_a_request_of_very_many_cards_is_refused() -> None:
    fleet = fleet_of(*[models(numeric(f"f{card}")) for card in range(MAX_CARDS + 1)])
    assert f"of at most {MAX_CARDS} lists" in message(ask(fleet, instances=cards(MAX_CARDS + 1)))


@pytest.mark.parametrize(
    ("card", "most"),
    [
        (ModelCard("y", tuple(Feature(f"f{i}", missing="mean") for i in range(1000))), MAX_VALUES // 1000),
        (
            ModelCard("y", (Feature("c", "categorical", levels=tuple(map(str, range(2001)))),)),
            MAX_ENCODED // 2000,
        ),
    ],
)
def test_what_a_few_bytes_would_be_encoded_to_is_bounded(card: ModelCard, most: int) -> None:
    fleet = fleet_of(models(card))
    said = message(ask(fleet, instances=[{}] * (most + 1)))
    assert f"send at most {most} instances at a time" in said
    row = {"c": "1"} if card.features[0].kind == "categorical" else dict.fromkeys(card.feature_names, 1)
    assert ask(fleet, instances=[row] * most).status == 200


def test_intervals_of_rows_with_a_model_each_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from handler.answers import scoring

    fleet = fleet_of(models(numeric("a", "b"), 7))
    body = {"dataset": [f"0-{row % 7}" for row in range(50)], "instances": [[row, 2] for row in range(50)]}
    whole = ask(fleet, interval=0.9, **body).body
    one_by_one = ask(fleet, interval=0.9, **body | {"instances": [[0, 2]] * 50}).body
    monkeypatch.setattr(scoring, "NUMBERS_AT_ONCE", 9)
    assert ask(fleet, interval=0.9, **body).body == whole != one_by_one


def test_intervals_that_take_long_are_refused_with_the_number_that_does_not() -> None:
    fleet = fleet_of(models(numeric(*(f"f{i}" for i in range(300))), 2))
    row = [1] * 300
    said = message(ask(fleet, dataset=["0-0", "0-1"] * 1200, instances=[row] * 2400, interval=0.9))
    found = re.search(r"send at most (\d+) instances", said)
    assert found is not None
    half = int(found[1]) // 2
    assert ask(fleet, dataset=["0-0", "0-1"] * half, instances=[row] * 2 * half, interval=0.9).status == 200
    assert ask(fleet, dataset=["0-0", "0-1"] * 1200, instances=[row] * 2400).status == 200


def test_intervals_with_very_many_quantiles_are_refused() -> None:
    fleet = fleet_of(models(numeric("a"), MAX_QUANTILES + 1))
    names = [f"0-{row}" for row in range(MAX_QUANTILES + 1)]
    said = message(ask(fleet, dataset=names, instances=[[1]] * len(names), interval=0.9))
    assert f"instances of at most {MAX_QUANTILES} datasets" in said


@pytest.mark.parametrize("protocol", ["instances", "inputs"])
@pytest.mark.parametrize("options", [{"extrapolation": True}, {"explanations": True, "interval": 0.9}])
@pytest.mark.parametrize("name", ["a", 'ä"\\', "\x01\U0001f600"])
def test_an_answer_is_never_larger_than_its_bound(protocol: str, options: Json, name: str) -> None:
    fleet = fleet_of(models(numeric(name, "b")))

    def asked(num_rows: int) -> Answer:
        values = [-1.2345678901234567e-300, 1.2345678901234567e300] * num_rows
        if protocol == "instances":
            return ask(fleet, instances=[[value, value] for value in values[:num_rows]], **options)
        tensor = {"name": "instances", "datatype": "FP64", "shape": [num_rows, 2], "data": values}
        return ask(fleet, inputs=[tensor], parameters=options)

    found = re.search(r"may have (\d+) bytes", message(asked(80_000)))
    assert found is not None
    assert len(asked(200).body) - len(asked(100).body) <= 100 * int(found[1]) / 80_000


def test_an_answer_that_would_be_too_large_is_refused_with_the_number_that_is_not() -> None:
    fleet = fleet_of(models(numeric(*(f"feature_{i}" for i in range(12)))))
    said = message(ask(fleet, instances=[[0.5] * 12] * 40_000, interval=0.9, explanations=True))
    found = re.search(r"send at most (\d+) instances", said)
    assert found is not None
    assert str(MAX_ANSWER_BYTES) in said
    answered = ask(fleet, instances=[[0.5] * 12] * int(found[1]), interval=0.9, explanations=True)
    assert answered.status == 200
    assert len(answered.body) < MAX_ANSWER_BYTES


def test_the_collector_of_cycles_runs_again_after_a_request() -> None:
    with pytest.raises(ZeroDivisionError), PausedCollector():
        assert not gc.isenabled()
        1 / 0  # noqa: B018
    assert gc.isenabled()
    gc.disable()
    try:
        with PausedCollector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "body", [b'{"instances": [[1]]', b'{"instances": [["x"]]}', b'{"instances": [[1, 2]]}', b"\xff"]
)
def test_nothing_of_a_request_is_left_for_the_collector(body: bytes) -> None:
    """What is left keeps the body in memory until the collector runs, many requests later."""
    fleet = fleet_of(models(numeric("a")))
    answer(fleet, [Request(body)])
    gc.collect()
    with PausedCollector():
        answer(fleet, [Request(body), Request(b'{"instances": [[1e308]], "explanations": true}')])
        assert gc.collect() == 0
