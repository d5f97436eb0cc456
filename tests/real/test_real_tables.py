"""Hundreds of real tables train by three lines of configuration, and what is called converged is least squares."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.real.counts import PAGE, num_close, num_converged, num_far, num_trained, page_of
from tests.real.measuring import Result, measure
from tests.real.tables import real_tables

pytestmark = [pytest.mark.real, pytest.mark.ray]

NUM_TABLES_MIN = 250
TRAINED_MIN = 0.95
CLOSE_MIN = 0.99


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Result]:
    return measure(real_tables(), tmp_path_factory.mktemp("real"))


def test_real_tables_are_hundreds(results: Sequence[Result]) -> None:
    assert len(results) >= NUM_TABLES_MIN


def test_real_tables_train_with_no_further_key(results: Sequence[Result]) -> None:
    assert num_trained(results) >= TRAINED_MIN * len(results)


def test_real_tables_that_are_called_converged_predict_as_least_squares_does(results: Sequence[Result]) -> None:
    assert num_converged(results) > 0
    assert num_close(results) >= CLOSE_MIN * num_converged(results)
    assert num_far(results) == 0


def test_real_tables_that_are_refused_train_when_the_remedy_is_followed(results: Sequence[Result]) -> None:
    assert [(result.table, result.reasons) for result in results if result.status == "refused"] == []


def test_real_tables_page_has_these_counts(results: Sequence[Result]) -> None:
    assert PAGE.read_text() == page_of(results)
