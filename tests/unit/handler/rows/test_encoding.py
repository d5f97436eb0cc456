from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import EncodingError
from handler.rows.encoding import CHUNK_ROWS, encode
from handler.rows.model_card import Feature, ModelCard

AREA = Feature("area")
COLOR = Feature("color", kind="categorical", levels=("blue", "green", "red"))


def card(*features: Feature, bias: bool = True) -> ModelCard:
    return ModelCard(target="y", features=features, bias=bias)


def numbers(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def words(*values: object) -> np.ndarray:
    return np.array(values, dtype=object)


def test_encode_writes_one_column_for_each_name_of_the_card() -> None:
    both = card(AREA, COLOR, Feature("depth", transform="sqrt"))
    columns = {
        "depth": numbers(4, 9),
        "color": words("red", "blue"),
        "area": numbers(1, 2),
        "unused": words(None, None),
    }
    x_nd = encode(both, columns)
    assert both.columns == ("area", "color=green", "color=red", "depth")
    np.testing.assert_array_equal(x_nd, [[1, 0, 1, 2], [2, 0, 0, 3]])


def test_encode_without_bias_gives_every_level_a_column() -> None:
    x_nd = encode(card(COLOR, bias=False), {"color": np.array(["blue", "red"])})
    np.testing.assert_array_equal(x_nd, [[1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(("transform", "function"), [("log10", np.log10), ("log1p", np.log1p), ("sqrt", np.sqrt)])
def test_encode_transforms(transform: str, function: np.ufunc) -> None:
    values = numbers(0.5, 1, 1e300, 5e-324)
    x_nd = encode(card(Feature("area", transform=transform)), {"area": values})  # type: ignore[arg-type]
    np.testing.assert_array_equal(x_nd[:, 0], function(values))


@pytest.mark.parametrize(("transform", "value"), [("log10", 0.0), ("log10", -1.0), ("log1p", -1.0), ("sqrt", -1e-9)])
def test_encode_refuses_a_value_outside_the_domain(transform: str, value: float) -> None:
    with pytest.raises(
        EncodingError, match=rf"'area' has value {value}, which is outside the domain of {transform}"
    ) as caught:
        encode(card(Feature("area", transform=transform)), {"area": numbers(1, value)})  # type: ignore[arg-type]
    assert (caught.value.feature, caught.value.row, caught.value.value) == ("area", 1, value)


def test_encode_takes_the_bound_of_a_closed_domain() -> None:
    assert encode(card(Feature("area", transform="sqrt")), {"area": numbers(0)}).item() == 0.0


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "is missing"), (np.inf, "is infinite"), (-np.inf, "is infinite")]
)
def test_encode_refuses_what_is_not_finite(value: float, reason: str) -> None:
    with pytest.raises(EncodingError, match=reason) as caught:
        encode(card(AREA), {"area": numbers(1, 2, value)})
    assert caught.value.row == 2


def test_encode_fills_before_it_transforms() -> None:
    filled = card(Feature("area", missing="mean", transform="log10"))
    np.testing.assert_array_equal(encode(filled, {"area": numbers(np.nan, 10)}, numbers(100)), [[2], [1]])


def test_encode_fills_each_row_of_a_mixed_batch_with_its_own_value() -> None:
    filled = card(AREA, Feature("depth", missing="mean"))
    columns = {"area": numbers(1, 2, 3), "depth": numbers(np.nan, 5, np.nan)}
    fill_nk = np.array([[np.nan, 7.0], [np.nan, 8.0], [np.nan, 9.0]])
    np.testing.assert_array_equal(encode(filled, columns, fill_nk)[:, 1], [7, 5, 9])


def test_encode_refuses_a_missing_value_without_a_fill() -> None:
    with pytest.raises(EncodingError, match="no training value"):
        encode(card(Feature("area", missing="mean")), {"area": numbers(np.nan)}, numbers(np.nan))


def test_encode_does_not_fill_an_infinite_value() -> None:
    with pytest.raises(EncodingError, match="infinite"):
        encode(card(Feature("area", missing="mean")), {"area": numbers(np.inf)}, numbers(1))


def test_encode_does_not_fill_where_the_rule_is_error() -> None:
    with pytest.raises(EncodingError, match="is missing"):
        encode(card(AREA), {"area": numbers(np.nan)}, numbers(1))


def test_encode_refuses_an_unseen_level_and_names_the_levels() -> None:
    with pytest.raises(
        EncodingError, match=r"'pink', which is a level that training did not see.*'blue', 'green', 'red'"
    ) as caught:
        encode(card(COLOR), {"color": words("red", "pink")})
    assert caught.value.row == 1


def test_encode_counts_an_unseen_level_as_the_reference() -> None:
    lenient = Feature("color", kind="categorical", levels=("blue", "red"), unseen="reference")
    np.testing.assert_array_equal(encode(card(lenient), {"color": words("pink", "red")}), [[0], [1]])


def test_encode_refuses_a_missing_level_even_where_unseen_ones_count_as_the_reference() -> None:
    lenient = Feature("color", kind="categorical", levels=("blue", "red"), unseen="reference")
    with pytest.raises(EncodingError, match="None, which is not a level") as caught:
        encode(card(lenient), {"color": words("pink", None)})
    assert caught.value.row == 1


def test_encode_refuses_words_in_a_numeric_column() -> None:
    with pytest.raises(EncodingError, match="'wide', which is not a number") as caught:
        encode(card(AREA), {"area": words(1.0, "wide")})
    assert caught.value.row == 1


def test_encode_names_a_column_that_is_absent() -> None:
    with pytest.raises(EncodingError, match=r"'color' is missing; found \['area'\]"):
        encode(card(AREA, COLOR), {"area": numbers(1)})


def test_encode_counts_rows_across_blocks() -> None:
    values = np.ones(2 * CHUNK_ROWS + 5)
    values[CHUNK_ROWS + 3] = np.nan
    with pytest.raises(EncodingError) as caught:
        encode(card(AREA), {"area": values})
    assert caught.value.row == CHUNK_ROWS + 3


def test_encode_shortens_a_long_value_and_stays_on_one_line() -> None:
    with pytest.raises(EncodingError) as caught:
        encode(card(COLOR), {"color": words("a\n" * 5000)})
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_encoding_error_survives_pickling() -> None:
    error = EncodingError("reason", feature="area", row=3, value=-1.0)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(copy), copy.feature, copy.row, copy.value) == ("reason", "area", 3, -1.0)


@given(st.lists(st.sampled_from(["blue", "green", "red"]), max_size=50), st.booleans())
def test_encode_rows_do_not_depend_on_each_other(values: list[str], bias: bool) -> None:
    whole = encode(card(COLOR, bias=bias), {"color": words(*values)})
    for row, value in enumerate(values):
        np.testing.assert_array_equal(whole[row], encode(card(COLOR, bias=bias), {"color": words(value)})[0])
