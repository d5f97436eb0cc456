"""Every kind of model card, with models of random weights, and rows that they answer and refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from handler.models.stack import Stack, Statistics
from handler.rows.datetimes import days_of
from handler.rows.model_card import MISSING_LEVEL, OTHER_LEVEL, Factor, Feature, ModelCard, Term

Row = dict[str, Any]

A, B = Feature("a"), Feature("b", missing="mean")
MONTHS = tuple(f"month={month:02d}" for month in (1, 2, 3, 12))
WEEKDAYS = tuple(f"weekday={day:02d}" for day in range(1, 8))
HOURS = tuple(f"hour={hour:02d}" for hour in range(24))
YEARS = tuple(f"year={year}" for year in (1969, 2000, 2024, 2026))
COLOR = Feature("color", kind="categorical", levels=("blue", "green", "red"))
SIZE = Feature("size", kind="categorical", levels=("l", "m", "s"), unseen="reference")
ANY = Feature("any", kind="categorical", levels=(MISSING_LEVEL, OTHER_LEVEL, "x"), missing="level", unseen="other")
DAY = Feature("day", kind="datetime", parts=("days",), origin=days_of("2026-01-01"))
DATES = Feature("day", kind="datetime", parts=("month", "weekday", "days"), levels=MONTHS + WEEKDAYS, missing="mean")
HOURLY = Feature("day", kind="datetime", parts=("year", "hour"), levels=YEARS + HOURS, unseen="reference")
CIRCLES = Feature("day", kind="datetime", parts=("year", "month", "weekday", "hour"), cyclic=True, missing="indicator")


def term(*factors: str | tuple[str, int]) -> Term:
    """Return a term of features, some with a power."""
    return Term(tuple(Factor(*([factor] if isinstance(factor, str) else factor)) for factor in factors))


CARDS: Mapping[str, ModelCard] = {
    "plain": ModelCard("y", (A, B)),
    "without bias": ModelCard("y", (A, COLOR), bias=False),
    "one column": ModelCard("y", (A,)),
    "transforms": ModelCard(
        "y",
        (
            *(Feature("a", transform="log"), Feature("b", transform="log10", missing="median")),
            *(Feature("c", transform="sqrt"), Feature("d", transform="log1p", missing="indicator")),
        ),
    ),
    "levels": ModelCard("y", (A, COLOR, SIZE)),
    "missing and rare levels": ModelCard("y", (ANY, A)),
    "one level": ModelCard("y", (Feature("only", kind="categorical", levels=("x",)), A)),
    "days": ModelCard("y", (DAY, A)),
    "parts of dates": ModelCard("y", (A, DATES)),
    "unseen parts": ModelCard("y", (HOURLY,)),
    "parts without bias": ModelCard("y", (DATES,), bias=False),
    "circles": ModelCard("y", (CIRCLES, A)),
    "powers": ModelCard("y", (A, B), terms=(term(("a", 2)), term("a", "b"), term(("a", 3), ("b", 2)))),
    "products of levels": ModelCard(
        "y", (A, COLOR, SIZE), terms=(term("a", "color"), term("color", "size"), term(("a", 2), "color", "size"))
    ),
    "products of dates": ModelCard("y", (DATES, ANY, A), bias=False, terms=(term("day", "any"), term("day", "a"))),
    "products of circles": ModelCard("y", (CIRCLES, COLOR), terms=(term("day", "color"), term(("day", 2)))),
    "only in products": ModelCard(
        "y", (Feature("a", main=False, missing="indicator"), COLOR), terms=(term("a", "color"),)
    ),
    "target log": ModelCard("y", (A, COLOR), target_transform="log"),
    "target log1p": ModelCard("y", (A, B), target_transform="log1p"),
    "hostile names": ModelCard(
        "y\n",
        (
            *(Feature("dataset"), Feature("dataset_"), Feature("prediction"), Feature("_0"), Feature("a b/c:0,\"'\\")),
            Feature("größe\u2028<b>", kind="categorical", levels=("../x", "a=b", "é\n", "null")),
        ),
    ),
    "groups": ModelCard("y", (A, COLOR), group_by=("city", "street"), group_prefix="g/"),
}

VALUES: Mapping[str, tuple[Any, ...]] = {
    "numeric": (0.25, 3.0, 7.5, 1e-9, 120.0, 0, None, -0.5, -3.0),
    "datetime": (
        *("2026-01-31", "2024-02-29T23:59:59.99995", "2000-12-31T12:00:00+02:00", "1969-12-31T23:00", None),
        *("2026-03-01T00:00:00.0000001", "2024-12-02T07:59:59.9999999", "0001-01-01", "9999-12-31T23:59", "2025-06-15"),
    ),
}


def values_of(feature: Feature) -> tuple[Any, ...]:
    """Return values for a feature: what training saw, and what it did not."""
    if feature.kind == "categorical":
        return (*feature.levels, "unseen", None)
    return VALUES[feature.kind]


def model_of(card: ModelCard, seed: int = 0) -> Stack:
    """Return a model of random weights that fills what the card says."""
    random = np.random.default_rng(seed)
    d, k = card.num_columns, len(card.features)
    fill_k = [_fill(feature) + seed if feature.fills else np.nan for feature in card.features]
    rows = ([fill_k], np.full((1, k), -9.0), np.full((1, k), 9.0), np.zeros((1, d)), [40.0])
    statistics = Statistics(*(torch.tensor(np.asarray(row), dtype=torch.float64) for row in rows))
    scale = 1e-3 if card.target_transform else 1.0
    weight_md = torch.tensor(scale * random.normal(size=(1, d)), dtype=torch.float64)
    bias_m = torch.tensor(random.normal(size=1), dtype=torch.float64) if card.bias else None
    return Stack(card, weight_md, bias_m, statistics)


def _fill(feature: Feature) -> float:
    return days_of("2024-02-28T18:30") if feature.kind == "datetime" else 2.5


def rows_of(card: ModelCard, num_rows: int = 60) -> list[Row]:
    """Return rows of a card: usual ones, and for each value of each feature one that differs in it alone."""
    random = np.random.default_rng(len(card.features))
    values = {feature.name: values_of(feature) for feature in card.features}
    common = {name: tuple(value for value in some[:3] if value is not None) for name, some in values.items()}
    usual = [{name: some[random.integers(len(some))] for name, some in common.items()} for _ in range(num_rows)]
    changed = [usual[0] | {name: value} for name, some in values.items() for value in some]
    return [*usual, *changed]
