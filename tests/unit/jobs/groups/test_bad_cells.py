"""A text cell in a column of numbers fails the group of its row, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gridline
from tests.integration.farms import statuses
from tests.samples.tables import Tables
from tests.servers.inline_cluster import InlineCluster

KEYS = "pqr"


@pytest.fixture
def tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tables:
    monkeypatch.chdir(tmp_path)
    return Tables(tmp_path, capsys)


def rows(count: int = 60, bad: dict[int, str] | None = None) -> str:
    """Return rows of the groups p, q and r in turn; the row at a number of `bad` has that cell in column b."""
    cells = [(bad or {}).get(n, str(n * n % 7)) for n in range(count)]
    lines = [f"{n % 5},{b},{2 * (n % 5) + n % 11},{KEYS[n % 3]}" for n, b in enumerate(cells)]
    return "\n".join(["a,b,y,key", *lines, ""])


def stores(tables: Tables, **keys: Any) -> gridline.JobOutcome:
    return gridline.train(tables.job(datasets=({"name": "d", "source": "d.csv", "group_by": "key", **keys},)))


def reasons(outcome: Any) -> dict[str, str]:
    return {each["dataset"]: each["reason"] for each in outcome.documents() if each["status"] == "failed"}


@pytest.mark.parametrize("cell", ["xx", "12 km", "1_000", "#bad"])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"features": ["a", {"name": "b", "missing": "mean"}]},
        {"validation": {"fraction": 0.3, "seed": 1}},
        {"features": ["b", {"name": "a", "kind": "categorical"}]},
    ],
)
def test_text_cell_fails_its_group_alone(
    tables: Tables, inline_cluster: InlineCluster, cell: str, keys: dict[str, Any]
) -> None:
    tables.write(d=rows(bad={31: cell}))
    outcome = stores(tables, **keys)
    assert outcome.exit_code == 5
    assert {name for name, status in statuses(outcome).items() if status == "failed"} == {"q"}
    assert f"d.csv:33: column 'b': {cell!r} is not a number" in reasons(outcome)["q"]


def test_groups_beside_a_bad_cell_are_those_of_a_file_without_it(tables: Tables, inline_cluster: InlineCluster) -> None:
    tables.write(d=rows(bad={31: "xx"}))
    beside = {each["dataset"]: each["best"] for each in stores(tables).documents()}
    tables.write(d=rows())
    alone = {each["dataset"]: each["best"] for each in stores(tables).documents()}
    assert beside["q"] is None
    assert [beside[name] for name in "pr"] == [alone[name] for name in "pr"]


def test_each_group_names_its_first_bad_cell(tables: Tables, inline_cluster: InlineCluster) -> None:
    tables.write(d=rows(bad={10: "first", 13: "second", 14: "other"}))
    found = reasons(stores(tables))
    assert "d.csv:12: column 'b': 'first'" in found["q"]
    assert "d.csv:16: column 'b': 'other'" in found["r"]
    assert list(found) == ["q", "r"]


def test_bad_cell_in_the_second_file_fails_its_group(tables: Tables, inline_cluster: InlineCluster) -> None:
    tables.write(d=rows(), e=rows(bad={4: "xx"}))
    found = reasons(stores(tables, source=["d.csv", "e.csv"]))
    assert list(found) == ["q"]
    assert "e.csv:6: column 'b': 'xx'" in found["q"]


def test_many_bad_cells_have_a_place_each(tables: Tables, inline_cluster: InlineCluster) -> None:
    lines = [f"{n},{'xx' if n % 2 else n * n % 7},{2 * n},k{n % 50}" for n in range(400)]
    tables.write(d="\n".join(["a,b,y,key", *lines, ""]))
    found = reasons(stores(tables))
    assert found.keys() == {f"k{number}" for number in range(1, 50, 2)}
    for number in range(1, 50, 2):
        assert f"d.csv:{number + 2}: column 'b': 'xx' is not a number" in found[f"k{number}"]


@pytest.mark.parametrize("text", ["text in every row", "a,b"])
def test_row_of_another_length_fails_the_source(tables: Tables, inline_cluster: InlineCluster, text: str) -> None:
    tables.write(d=rows() + f"{text}\n")
    with pytest.raises(gridline.DataError, match=r"d\.csv:62: the row has . cells, and the header 4"):
        stores(tables)


def test_bad_cell_fails_its_group_in_minibatches_and_in_plan(tables: Tables, inline_cluster: InlineCluster) -> None:
    tables.write(d=rows(bad={31: "xx"}))
    grouped = {"name": "d", "source": "d.csv", "group_by": "key"}
    job = tables.job(datasets=(grouped,), engine="minibatch", batch_size=8, normalize=True)
    assert list(reasons(gridline.train(job))) == ["q"]
    plan = gridline.plan(job)
    assert (plan.exit_code, list(plan.fleets[0].failures), plan.fleets[0].num_groups) == (5, ["q"], 2)


def test_values_that_cannot_be_squared_are_refused(tables: Tables, inline_cluster: InlineCluster) -> None:
    tables.write(d=rows(bad={31: "1e200"}), big=rows(bad={3: "-1e300"}))
    found = reasons(stores(tables))
    assert list(found) == ["q"]
    assert found["q"].startswith("column 'b' has values of size 1e+200, which can't be squared: divide the column")
    with pytest.raises(gridline.DataError, match="dataset 'big': column 'b' has values of size 1e\\+300"):
        gridline.plan(tables.job("big"))
