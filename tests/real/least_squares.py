"""The oracle: predictions of statsmodels' least squares on a matrix that pandas makes by the rules of docs/.

Shapes: n rows · d columns · t rows that train.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.linalg import qr

from tests.real.tables import MARKS, Table, is_number

Floats = NDArray[np.float64]

TRUTHS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
DEPENDENT = 1e-10  # of the scale of a column: what is left of it after the columns before it


def least_squares(table: Table, features: Collection[str]) -> tuple[Floats, Floats]:
    """Return the target of the rows that have one, and what least squares predicts for them, both of shape (t,)."""
    rows = table.frame[table.frame[table.target].notna()]
    y_t = rows[table.target].to_numpy(np.float64)
    x_td = independent(standardized(design(rows, features, by_type=table.as_parquet)))
    fit = sm.OLS(y_t - y_t.mean(), x_td).fit(method="pinv")
    return y_t, np.asarray(fit.fittedvalues) + y_t.mean()


def design(rows: pd.DataFrame, features: Collection[str], *, by_type: bool) -> Floats:
    """Return the columns of a regression: numbers with the mean where one is missing, a dummy for each level but one.

    A missing cell of text is a level of its own. In a csv file, columns of truths and of dates are numbers; where a
    file has types, text is text.
    """
    columns = [_encoded(rows[name], by_type=by_type) for name in features]
    return np.column_stack(columns) if columns else np.empty((len(rows), 0))


def _encoded(column: pd.Series, *, by_type: bool) -> Floats:
    numbers = column if is_number(column) or column.dtype == bool else None
    text = column.map(lambda cell: None if pd.isna(cell) or not str(cell).strip() else str(cell).strip())
    if numbers is None and not by_type:
        numbers = _truths(text) if _truths(text) is not None else _days(text)
    if numbers is None:
        return pd.get_dummies(text.fillna("(missing)"), drop_first=True).to_numpy(np.float64)
    numbers = numbers.astype(np.float64)
    return numbers.fillna(numbers.mean()).to_numpy()[:, None]


def _truths(text: pd.Series) -> pd.Series | None:
    """Return a column of true/false and yes/no, with marks of a missing one, as 1 and 0; None for another."""
    cells = text[~text.isin(MARKS)].dropna()
    return text.str.lower().map(TRUTHS) if cells.str.lower().isin(TRUTHS).all() and len(cells) else None


def _days(text: pd.Series) -> pd.Series | None:
    """Return a column of ISO 8601 dates as days; None for another."""
    try:
        return pd.to_datetime(text, format="ISO8601").astype("datetime64[s]").astype(np.int64) / 86400
    except ValueError:
        return None


def standardized(x_td: Floats) -> Floats:
    """Return the columns around 0 with deviation 1, without those that are constant: predictions stay as they are."""
    x_td = x_td - x_td.mean(axis=0)
    scale_d = x_td.std(axis=0)
    varies_d = scale_d > 1e-12 * np.abs(x_td).max(axis=0, initial=1e-300)
    return x_td[:, varies_d] / scale_d[varies_d]


def independent(x_td: Floats) -> Floats:
    """Return columns that span the same space, none of which depends on the others."""
    if not x_td.size:
        return np.zeros((len(x_td), 1))
    _, r_dd, order_d = qr(x_td, mode="economic", pivoting=True)
    size_d = np.abs(np.diag(r_dd))
    return x_td[:, order_d[: len(size_d)][size_d > DEPENDENT * size_d[0]]]
