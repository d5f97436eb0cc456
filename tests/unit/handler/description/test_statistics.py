"""What is known of each coefficient: its standard error, or the dependence that leaves it open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from handler.description.statistics import statistics
from tests.samples.dependent import moments, stack_of

RANDOM = np.random.default_rng(5)
C, B = RANDOM.normal(15, 5, 40), RANDOM.normal(100, 30, 40)
Y = C - 0.1 * B + RANDOM.normal(size=40)


def described(bias: bool = True, **columns: Any) -> dict[str, Any]:
    x_nd = np.column_stack([*columns.values()])
    return statistics(stack_of(moments(x_nd, Y[: len(x_nd)]), [*columns], bias).arrays(), 0, "t")


@pytest.mark.parametrize("bias", [True, False])
def test_standard_errors_are_those_of_statsmodels(bias: bool) -> None:
    found = described(bias, c=C, b=B)
    design_np = np.column_stack([np.ones(40), C, B])[:, 1 - bias :]
    fit = sm.OLS(Y, design_np).fit()
    assert found["intervals"] is True
    assert found["degrees_of_freedom"] == fit.df_resid
    assert found["residual_deviation"] == pytest.approx(fit.mse_resid**0.5)
    assert [*found["coefficients"]] == ["intercept", "c", "b"][1 - bias :]
    errors = [each["standard_error"] for each in found["coefficients"].values()]
    np.testing.assert_allclose(errors, fit.bse, rtol=1e-9)


def test_open_coefficients_have_the_dependence_that_moves_them() -> None:
    found = described(b=B, celsius=C, fahrenheit=1.8 * C + 32, copy=B, floor=np.full(40, 7.0), square=C**2)
    known = found["coefficients"]
    scales = "in every training row, 'fahrenheit' is 1.8 × 'celsius' + 32"
    assert {name: each.get("reason") for name, each in known.items()} == {
        "intercept": scales,
        "b": "in every training row, 'copy' is 'b'",
        "celsius": scales,
        "fahrenheit": scales,
        "copy": "in every training row, 'copy' is 'b'",
        "floor": "in every training row, 'floor' is 7",
        "square": None,
    }
    fit = sm.OLS(Y, np.column_stack([np.ones(40), B, C, C**2])).fit()
    assert known["square"] == {"estimable": True, "standard_error": pytest.approx(fit.bse[3])}
    assert (known["copy"]["estimable"], known["copy"]["standard_error"]) == (False, None)
    assert found["degrees_of_freedom"] == fit.df_resid


def test_many_open_coefficients_have_a_short_reason() -> None:
    found = described(**{f"c{at}": C * (at + 1) for at in range(80)})["coefficients"]
    assert found["c7"]["reason"] == "it depends on other columns in every training row"
    assert found["intercept"]["estimable"]


def test_a_dataset_without_intervals_says_why() -> None:
    found = described(c=C[:2], b=B[:2])
    assert found["intervals"] is False
    assert found["reason"].startswith("dataset 't' has 2 training rows for the 2 weights that they determine")
