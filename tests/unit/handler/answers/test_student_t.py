from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from handler.answers.student_t import two_sided_quantile, two_sided_tail


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 49, 50, 101, 1e4, 1e7])
@pytest.mark.parametrize("level", [1e-6, 0.1, 0.5, 0.9, 0.95, 0.999, 1 - 1e-9])
def test_quantile_is_that_of_scipy(freedom: float, level: float) -> None:
    assert two_sided_quantile(level, freedom) == pytest.approx(stats.t.isf((1 - level) / 2, freedom), rel=1e-8)


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-6, 1 - 1e-9), st.floats(0.5, 1e7))
def test_quantile_has_the_probability_that_was_asked_for(level: float, freedom: float) -> None:
    assert two_sided_tail(two_sided_quantile(level, freedom), freedom) == pytest.approx(1 - level, rel=1e-8)


def test_tail_at_zero_is_one() -> None:
    assert two_sided_tail(0.0, 5) == 1.0
