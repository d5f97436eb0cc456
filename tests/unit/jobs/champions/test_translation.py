"""A champion's weights in other columns predict what the champion predicts, row by row, by the encoder itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from handler.rows.encoding import encode
from handler.rows.model_card import OTHER_LEVEL, Factor, Feature, ModelCard, Term
from jobs.champions.translation import UntranslatableError, question_of, translated

A, LOG_A, B, C = Feature("a"), Feature("a", transform="log10"), Feature("b"), Feature("c")
FILLED, FLAGGED = Feature("b", missing="mean"), Feature("b", missing="indicator")
PRODUCT = (Term((Factor("a"), Factor("b"))),)
DAYS = Feature("day", kind="datetime", parts=("days",))


def soil(*levels: str, **rule: Any) -> Feature:
    return Feature("soil", kind="categorical", levels=levels, **rule)


def card(*features: Feature, bias: bool = True, terms: tuple[Term, ...] = ()) -> ModelCard:
    return ModelCard("y", features, bias, terms=terms)


def rows(num_rows: int = 12) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    numbers = {name: random.uniform(1, 9, num_rows) for name in ("a", "b", "c", "day")}
    return {**numbers, "soil": np.resize(np.array(["clay", "loam", "peat"], dtype=object), num_rows)}


KNOWN = soil("clay", "loam", "peat")
CASES = {
    "more features, in another order": (card(C, B, A), card(A, B)),
    "a bias that is new": (card(A, B), card(A, B, bias=False)),
    "a bias that is gone": (card(A, B, bias=False), card(A)),
    "levels with another reference": (card(KNOWN, A), card(soil("aqua", "clay", "loam", "peat"), A)),
    "levels without a reference": (card(KNOWN, bias=False), card(KNOWN)),
    "levels with one": (card(KNOWN), card(KNOWN, bias=False)),
    "levels that it takes for the reference": (card(KNOWN), card(soil("clay", "peat", unseen="reference"))),
    "levels that it takes for rare": (card(KNOWN), card(soil(OTHER_LEVEL, "loam", "peat", unseen="other"))),
    "rare levels that are no reference": (card(KNOWN), card(soil("clay", "peat", "~", OTHER_LEVEL, unseen="other"))),
    "missing values that these rows do not have": (card(A, B), card(A, FILLED)),
    "a mark of them": (card(A, B), card(A, FLAGGED)),
    "a product": (card(B, A, terms=PRODUCT), card(A, B, terms=PRODUCT)),
    "features that only products take": (card(A, B, terms=PRODUCT), card(A, replace(B, main=False), terms=PRODUCT)),
    "days since another day": (card(A, replace(DAYS, origin=3.0)), card(replace(DAYS, origin=5.0))),
}


@pytest.mark.parametrize("name", CASES)
def test_translated_weights_predict_the_same(name: str) -> None:
    ours, champion = CASES[name]
    p = champion.num_columns + champion.bias
    weight_tp = torch.from_numpy(np.random.default_rng(1).normal(size=(2, p)))
    weight_tq = translated(ours, champion, weight_tp).numpy()
    fill_k = np.zeros(len(champion.features))
    theirs_nd, ours_nd = encode(champion, rows(), fill_k), encode(ours, rows(), np.zeros(len(ours.features)))
    expected = theirs_nd @ weight_tp[:, : champion.num_columns].numpy().T
    expected += weight_tp[:, champion.num_columns :].sum(1).numpy()
    np.testing.assert_allclose(ours_nd @ weight_tq[:, :-1].T + weight_tq[:, -1], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("ours", "champion", "reason"),
    [
        (card(A), card(A, B), "the champion needs 'b', which these rows lack"),
        (card(A), card(LOG_A), "the champion reads 'a' in another way"),
        (card(A, FILLED), card(A, B), "the champion reads 'b' in another way"),
        (card(KNOWN), card(soil("clay", "loam")), "the champion does not know the level 'peat' of 'soil'"),
        (card(soil("clay", OTHER_LEVEL)), card(KNOWN), "the champion has other levels of 'soil'"),
        (card(A, B), card(A, B, terms=PRODUCT), "the champion needs 'a:b', which these rows lack"),
        (card(A, replace(B, main=False), terms=PRODUCT), card(A, B), "the champion needs 'b', which these rows lack"),
    ],
)
def test_weights_that_rows_do_not_tell_are_refused(ours: ModelCard, champion: ModelCard, reason: str) -> None:
    weight_tp = torch.ones(1, champion.num_columns + 1, dtype=torch.float64)
    with pytest.raises(UntranslatableError) as refused:
        translated(ours, champion, weight_tp)
    assert str(refused.value) == reason


def test_question_is_the_target_and_its_transform() -> None:
    assert question_of(card(A)) == "'y'"
    assert question_of(replace(card(A), target_transform="log")) == "log of 'y'"
