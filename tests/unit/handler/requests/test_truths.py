"""Values of clients that write booleans, converted by a model card."""

from __future__ import annotations

import pytest

from handler.errors import PayloadError
from handler.requests.columns import columns_of
from handler.requests.instances import Rows
from handler.rows.model_card import Feature, ModelCard


def levels(values: list[object], *known: str) -> list[object]:
    card = ModelCard("y", (Feature("member", kind="categorical", levels=known),))
    found: list[object] = columns_of(Rows([[value] for value in values]), card, range(len(values)))["member"].tolist()
    return found


@pytest.mark.parametrize("known", [("false", "true"), ("False", "True"), ("FALSE", "TRUE"), ("True", "False", "other")])
def test_a_truth_is_the_level_that_spells_it(known: tuple[str, ...]) -> None:
    assert [str(level).lower() for level in levels([True, False], *known)] == ["true", "false"]
    assert set(levels([True, False], *known)) <= set(known)


@pytest.mark.parametrize("known", [("1", "0"), ("true", "True"), ("yes", "no")])
def test_a_truth_that_no_level_spells_or_several_is_refused(known: tuple[str, ...]) -> None:
    with pytest.raises(PayloadError, match="feature 'member' has value True: give one of its levels"):
        levels([True], *known)
