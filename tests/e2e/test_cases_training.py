"""Kinds of jobs that went wrong in silence: what is said of each is true, and the defaults arrive."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tests.samples.people import (
    PLAIN,
    ROWS,
    Desk,
    Json,
    Row,
    least_squares,
    text_of,
    with_column,
)
from tests.servers.inline_cluster import InlineCluster


def test_a_champion_that_saw_other_rows_is_scored_on_the_new_ones(desk: Desk) -> None:
    desk.write("data.csv", PLAIN)
    desk.best()
    moved = [[*row[:2], f"{float(row[2]) + 6 * (at % 2):.3f}", f"{at}"] for at, row in enumerate(ROWS)]
    desk.write("data.csv", text_of(moved, header="a,b,y,c"))
    best = desk.best({"features": ["a", "b", "c"]})
    assert best["r2"] < 0.9  # of the first: 0.99


def test_a_champion_of_another_target_is_no_reason_to_keep(desk: Desk) -> None:
    desk.write("data.csv", text_of([[*row, f"{at % 7}"] for at, row in enumerate(ROWS)], header="a,b,y,z"))
    desk.best()
    desk.best({"target": "z"})


@pytest.mark.parametrize(
    "training",
    [
        {"epochs": 500, "batch_size": 16, "optimizer": "adam", "normalize": True},
        {"epochs": 500, "optimizer": "adam", "normalize": "features"},
        {"epochs": 500, "batch_size": 16, "normalize": "features"},
    ],
)
def test_no_trial_worse_than_the_mean_is_converged(desk: Desk, training: Json) -> None:
    size_n = np.random.default_rng(0).uniform(50, 200, 40).round(1)
    rows = [[f"{size}", f"{3e9 + 1e6 * size + 1e3 * at}"] for at, size in enumerate(size_n.tolist())]
    desk.write("data.csv", text_of(rows, header="x,y"))
    answer = desk.train({"features": ["x"]}, training=training, rates=[1e-4, 0.01, 0.1])
    [document] = answer.document["datasets"]
    assert [trial for trial in document["trials"] if trial["status"] == "converged" and trial["r2"] < 0] == []
    assert document["status"] == "promoted" or answer.code == 3


def _listing(at: int) -> Row:
    size, rooms, year = 60 + 7.3 * (at * 7 % 24), 1 + at % 5, 1950 + at * 11 % 70
    return [
        f"{size:.1f}",
        f"{rooms}",
        f"{year}",
        f"{1200 * size + 9000 * rooms + 800 * (year - 1950) + at * 37 % 11:.2f}",
    ]


RAW_UNITS: Mapping[str, tuple[str, list[Row]]] = {
    "listings of houses": ("size,rooms,year,y", [_listing(at) for at in range(24)]),
    "unix time": (
        "t,x,y",
        [
            [f"{1_700_000_000 + 3600 * at}", f"{at * 7 % 24}", f"{0.17 * at + 0.5 * (at * 7 % 24) + at % 3 / 9:.4f}"]
            for at in range(24)
        ],
    ),
    "days of Excel": (
        "day,x,y",
        [[f"{45292 + at}", f"{at * 7 % 24}", f"{at + 2 * (at * 7 % 24) + at % 3 / 9:.4f}"] for at in range(24)],
    ),
    "money": ("x,y", [[f"{70 + 9.6 * (at * 7 % 24):.1f}", f"{3e9 + 1e6 * at * 7 % 24e6:.0f}"] for at in range(24)]),
}


@pytest.mark.parametrize("kind", RAW_UNITS)
def test_columns_in_raw_units_reach_least_squares_by_default(desk: Desk, kind: str) -> None:
    header, rows = RAW_UNITS[kind]
    desk.write("data.csv", text_of(rows, header=header))
    best = desk.best({"features": header.split(",")[:-1]})
    assert best["status"] == "converged"
    numbers_nq = np.array(rows, dtype=float)
    x_np = np.column_stack([np.ones(len(rows)), numbers_nq[:, :-1]])
    found_n, expected_n = x_np @ list(best["coefficients"].values()), x_np @ least_squares(numbers_nq)
    assert np.abs(found_n - expected_n).max() < 1e-6 * numbers_nq[:, -1].std()


def test_a_quantile_is_selected_by_its_own_loss(desk: Desk) -> None:
    random = np.random.default_rng(0)
    x_n = random.uniform(0, 4, 200)
    y_n = 2 + 2 * x_n + random.exponential(2, 200)
    desk.write("data.csv", text_of([[f"{x}", f"{y}"] for x, y in zip(x_n, y_n, strict=True)], header="x,y"))
    training = {"epochs": 3000, "loss": "quantile", "quantile": 0.9, "normalize": "features"}
    best = desk.best({"features": ["x"]}, training=training, rates=[0.001, 0.01, 0.05])
    assert best["learning_rate"] == 0.05
    intercept, slope = best["coefficients"].values()
    assert np.mean(y_n <= intercept + slope * x_n) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("group", ["stroe", "Store", "stores"])
def test_a_typo_of_group_by_is_one_line(desk: Desk, group: str) -> None:
    desk.write("data.csv", text_of(with_column(lambda at: "pq"[at % 2]), header="a,b,y,store"))
    answer = desk.train({"group_by": [group]})
    assert answer.code == 2
    assert "did you mean 'store'?" in answer.line


def test_two_targets_by_the_same_groups_are_refused_before_training_and_named_apart_by_a_prefix(
    desk: Desk, inline_cluster: InlineCluster
) -> None:
    rows = [["pqr"[at % 3], str(at), str(3 * at + at % 2), str(-2 * at + at % 3 % 2)] for at in range(24)]
    desk.write("data.csv", text_of(rows, header="store,a,y,z"))
    sales: Json = {"name": "sales", "features": ["a"], "group_by": ["store"]}
    costs = sales | {"name": "costs", "target": "z"}
    answer = desk.train(sales, costs)
    assert (answer.code, inline_cluster.num_tasks) == (2, 0)
    assert "set 'prefix: sales/' and 'prefix: costs/'" in answer.line
    answer = desk.train(sales | {"prefix": "sales/"}, costs | {"prefix": "costs/"})
    names = [document["dataset"] for document in answer.document["datasets"]]
    assert sorted(names) == ["costs/p", "costs/q", "costs/r", "sales/p", "sales/q", "sales/r"]


def test_one_bad_dataset_of_two_fails_alone(desk: Desk) -> None:
    desk.write("good.csv", PLAIN)
    desk.write("bad.csv", text_of([["~", *ROWS[0][1:]], *ROWS[1:]]))
    answer = desk.train({"name": "good", "source": "good.csv"}, {"name": "bad", "source": "bad.csv"})
    assert answer.code == 5
    good, bad = answer.document["datasets"]
    assert (good["status"], bad["status"]) == ("promoted", "failed")
    assert "bad.csv:2: column 'a': '~'" in bad["reason"]


def test_more_columns_than_rows_train_with_weight_decay(desk: Desk) -> None:
    x_nd = np.random.default_rng(0).normal(size=(20, 30)).round(3)
    rows = [[*map(str, row), str(round(sum(row[:3]), 3))] for row in x_nd.tolist()]
    names = [f"x{at}" for at in range(30)]
    desk.write("data.csv", text_of(rows, header=",".join([*names, "y"])))
    best = desk.best({"features": names}, training={"weight_decay": 0.1, "normalize": False})
    y_n = np.array(rows, dtype=float)[:, -1]
    # The penalty is on the bias as well: (2/n)XᵀX + 0.1 I, as torch.optim has it.
    x_np = np.column_stack([np.ones(20), x_nd])
    expected = np.linalg.solve(x_np.T @ x_np + 20 * 0.05 * np.eye(31), x_np.T @ y_n)
    assert list(best["coefficients"].values()) == pytest.approx(expected.tolist(), abs=1e-5)
