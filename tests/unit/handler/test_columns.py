"""What a card says beyond a column of numbers or levels: dates, terms, marks of missing values, transformed targets."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from handler.answers.answering import answer
from handler.description.description import describe
from handler.errors import EncodingError
from handler.models.fleet import Fleet
from handler.models.stack import Stack, Statistics
from handler.models.text_table import NameIndex
from handler.requests.payload import Request
from handler.rows.date_parts import iso_of, level_of, part_of
from handler.rows.datetimes import days_of
from handler.rows.encoding import encode
from handler.rows.model_card import Factor, Feature, ModelCard, Term

DAY = Feature("day", kind="datetime", parts=("days",), origin=days_of("2026-01-01"))
COLOR = Feature("color", kind="categorical", levels=("blue", "red"))
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31))


def encoded(card: ModelCard, fill_k: np.ndarray | None = None, **columns: list[Any]) -> list[list[float]]:
    numeric = {feature.name: feature.kind != "categorical" for feature in card.features}
    arrays = {name: np.array(value, float if numeric[name] else object) for name, value in columns.items()}
    rows: list[list[float]] = encode(card, arrays, fill_k).tolist()
    return rows


def fleet_of(card: ModelCard, weight: list[float], bias: float, statistics: Statistics | None = None) -> Fleet:
    weight_md = torch.tensor([weight], dtype=torch.float64)
    stack = Stack(card, weight_md, torch.tensor([bias], dtype=torch.float64), statistics)
    place = np.zeros(1, np.int32)
    return Fleet("c", 1, NameIndex.of(["d"]), place, place, (stack.arrays(),))


def ask(fleet: Fleet, **body: Any) -> tuple[int, dict[str, Any]]:
    [answered] = answer(fleet, [Request(json.dumps(body).encode())])
    return answered.status, json.loads(answered.body)


@given(MOMENTS)
def test_parts_are_those_of_the_calendar(moment: datetime) -> None:
    days_n = np.array([days_of(moment.replace(tzinfo=UTC, microsecond=0).isoformat())])
    found = [int(part_of(part, days_n)[0]) for part in ("year", "month", "weekday", "hour")]
    assert found == [moment.year, moment.month, moment.isoweekday(), moment.hour]
    assert days_of(iso_of(days_n.item())) == pytest.approx(days_n.item(), abs=1e-9)


def test_a_date_is_days_since_the_origin() -> None:
    assert encoded(ModelCard("y", (DAY,)), day=[days_of("2026-01-11"), days_of("2025-12-31T12:00")]) == [[10], [-0.5]]


def test_parts_have_a_column_for_each_level_but_the_first_of_each() -> None:
    levels = tuple(level_of("month", month) for month in (1, 2)) + tuple(level_of("weekday", day) for day in (1, 5))
    card = ModelCard("y", (replace(DAY, parts=("days", "month", "weekday"), levels=levels),))
    assert card.columns == ("day", "day.month=02", "day.weekday=05")
    friday, monday = days_of("2026-02-06"), days_of("2026-01-05")
    assert encoded(card, day=[friday, monday]) == [[36, 1, 1], [4, 0, 0]]
    assert replace(card, bias=False).columns[1:3] == ("day.month=01", "day.month=02")
    with pytest.raises(EncodingError, match="has a month, 3, that training did not see"):
        encoded(card, day=[days_of("2026-03-06")])


def test_cyclic_parts_are_points_on_a_circle() -> None:
    card = ModelCard("y", (replace(DAY, parts=("month", "year"), cyclic=True),))
    assert card.columns == ("day.month.sin", "day.month.cos", "day.year")
    [december, january, july] = encoded(card, day=[days_of(f"2026-{month}-01") for month in ("12", "01", "07")])
    assert january == [0, 1, 2026]
    assert july[:2] == pytest.approx([0, -1])
    assert december[:2] == pytest.approx([-0.5, 3**0.5 / 2])


def test_terms_multiply_encoded_columns() -> None:
    features = (Feature("a"), Feature("b", transform="log", main=False), COLOR)
    terms = (
        Term((Factor("a", 2),)),
        Term((Factor("a"), Factor("b"))),
        Term((Factor("color"), Factor("a"))),
    )
    card = ModelCard("y", features, terms=terms)
    assert card.columns == ("a", "color=red", "a^2", "a:b", "color=red:a")
    assert encoded(card, a=[3, 5], b=[np.e, 1], color=["red", "blue"]) == [[3, 1, 9, 3, 3], [5, 0, 25, 0, 0]]
    with pytest.raises(EncodingError, match=r"'a' has value 1e\+200, for which a\^2 is beyond float64"):
        encoded(card, a=[1, 1e200], b=[1, 1], color=["red", "blue"])


def test_an_indicator_is_one_where_the_value_was_missing() -> None:
    card = ModelCard("y", (Feature("a", missing="indicator"), Feature("b", missing="median")))
    assert card.columns == ("a", "a_missing", "b")
    assert encoded(card, np.array([7.0, 8.0]), a=[1, np.nan], b=[np.nan, 2]) == [[1, 0, 8], [7, 1, 2]]


def test_a_missing_category_is_a_level_and_unseen_ones_are_others() -> None:
    color = Feature("color", "categorical", missing="level", levels=("(missing)", "(other)", "red"), unseen="other")
    assert encoded(ModelCard("y", (color,)), color=["red", None, "pink"]) == [[0, 1], [0, 0], [1, 0]]
    strict = replace(color, levels=("blue", "red"), unseen="error")
    with pytest.raises(EncodingError, match="None, which is a level that training did not see"):
        encoded(ModelCard("y", (strict,)), color=["red", None])


@pytest.mark.parametrize(
    "card",
    [
        ModelCard("y", (replace(DAY, parts=("days", "month"), levels=("month=01",)), COLOR)),
        ModelCard("y", (Feature("a", main=False),), terms=(Term((Factor("a", 2),)),)),
        ModelCard("y", (Feature("a", missing="median"),)),
        ModelCard("y", (Feature("a"),), target_transform="log1p"),
    ],
)
def test_a_card_comes_back_from_its_json(card: ModelCard) -> None:
    assert ModelCard.from_json(card.to_json()) == card
    assert json.loads(card.to_json())["format"] == 2


def test_a_card_without_anything_new_keeps_its_bytes() -> None:
    card = ModelCard("y", (Feature("a", missing="mean", transform="log10"), COLOR))
    assert card.to_json() == (
        '{"bias": true, "features": [{"kind": "numeric", "levels": [], "missing": "mean", "name": "a", '
        '"transform": "log10", "unseen": "error"}, {"kind": "categorical", "levels": ["blue", "red"], '
        '"missing": "error", "name": "color", "transform": null, "unseen": "error"}], "format": 1, "target": "y"}'
    )
    assert ModelCard.from_json(card.to_json()) == card


def test_answers_take_dates_as_text_and_raw_values_of_terms() -> None:
    card = ModelCard("y", (DAY, Feature("a")), terms=(Term((Factor("a"), Factor("day"))),))
    fleet = fleet_of(card, [1, 10, 100], 0.5)
    status, document = ask(fleet, instances=[{"day": "2026-01-03", "a": 2}])
    assert (status, document["predictions"]) == (200, [2 + 20 + 400 + 0.5])
    for wrong in (3, "soon", None, True):
        status, document = ask(fleet, instances=[[wrong, 1]])
        assert status == 400
        assert "give a date as text, such as '2026-01-31'" in document["message"]


def test_answers_undo_the_transform_of_the_target() -> None:
    nothing, one = torch.full((1, 1), torch.nan, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    statistics = Statistics(nothing, one, 9 * one, 2 * one, 12 * one[0], torch.eye(2)[None].double(), one[0])
    card = ModelCard("y", (Feature("a"),), target_transform="log")
    status, document = ask(fleet_of(card, [2], 1, statistics), instances=[[3]], interval=0.9, explanations=True)
    assert status == 200
    assert document["predictions"] == pytest.approx([np.exp(7)])
    [[low, high]] = document["intervals"]["prediction"]
    assert np.log(low) + np.log(high) == pytest.approx(14)
    assert low < np.exp(7) < high
    assert document["explanations"] == [{"baseline": 5, "contributions": {"a": 2}, "scale": "log"}]
    status, document = ask(fleet_of(card, [2], 1, statistics), instances=[[3000]])
    assert status == 400
    assert "beyond float64" in document["message"]


def test_the_description_says_dates_terms_and_the_scale_of_the_target() -> None:
    nothing, one = torch.full((1, 1), torch.nan, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    bounds = (days_of("2026-01-02") * one, days_of("2026-02-02") * one)
    card = ModelCard("y", (DAY,), terms=(Term((Factor("day", 2),)),), target_transform="log1p")
    statistics = Statistics(nothing, *bounds, torch.ones(1, 2).double(), one[0])
    document = describe(fleet_of(card, [1, 1], 0, statistics))
    [model] = document["models"]
    assert (model["target_transform"], model["terms"]) == ("log1p", ["day^2"])
    assert model["features"][0]["origin"] == "2026-01-01"
    assert document["example"]["request"]["instances"] == [{"day": "2026-01-02"}]
    _, document = ask(fleet_of(card, [0, 0], 0, statistics), instances=[["2026-03-01"]], extrapolation=True)
    [[outside]] = document["extrapolations"]
    assert outside == {"feature": "day", "value": "2026-03-01", "minimum": "2026-01-02", "maximum": "2026-02-02"}
