"""Sources with groups of the same names are refused before anything is trained, and the remedy works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gridline
from jobs.config import make_config
from jobs.errors import ConfigError
from tests.integration.farms import statuses
from tests.samples.tables import Tables
from tests.servers.command_line import plain
from tests.servers.inline_cluster import InlineCluster


@pytest.fixture
def tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tables:
    monkeypatch.chdir(tmp_path)
    tables = Tables(tmp_path, capsys)
    tables.write_good("stores", "more", keys="pq")
    tables.write_good("others", keys="rs")
    return tables


def source(name: str, file: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "source": f"{file}.csv", "group_by": "key", **keys}


@pytest.mark.parametrize("verb", ["plan", "train"])
@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        (
            [source("sales", "stores"), source("costs", "stores", target="a", features=["b"])],
            "datasets 'sales' and 'costs' have groups of the same names: both group stores.csv by 'key': "
            "set 'prefix: sales/' and 'prefix: costs/'",
        ),
        (
            [source("sales", "stores"), source("costs", "more")],
            "dataset 'costs': its group 'p' has the name of one of dataset 'sales': a collection has one dataset of "
            "each name: set 'prefix: costs/' for dataset 'costs', so that its groups are named costs/p",
        ),
        (
            [{"name": "q", "source": "more.csv"}, source("sales", "stores")],
            "dataset 'sales': its group 'q' has the name of one of the configuration: ",
        ),
    ],
)
def test_equal_names_are_refused_before_a_cluster_is_joined(
    tables: Tables, inline_cluster: InlineCluster, verb: str, datasets: list[Any], message: str
) -> None:
    code, _, errors = tables.run(verb, tables.job(datasets=tuple(datasets)))
    assert (code, len(errors), inline_cluster.num_joined) == (2, 1, 0)
    assert plain(errors[0]).replace(f"{tables.folder}/", "").startswith(f"gridline: {message}")


def test_prefixes_name_the_groups_of_two_targets_apart(tables: Tables, inline_cluster: InlineCluster) -> None:
    both = (
        source("sales", "stores", prefix="sales/"),
        source("costs", "stores", prefix="costs/", target="a", features=["b"]),
    )
    code, out, _ = tables.run("train", tables.job(datasets=both, epochs=100_000), "--json")
    names = [each["dataset"] for each in json.loads(out)["datasets"]]
    assert (code, names) == (0, ["sales/p", "sales/q", "costs/p", "costs/q"])
    ledger = gridline.open_ledger(str(tables.folder / "store"))
    assert [ledger.champion("t", name).card.target for name in names] == ["y", "y", "a", "a"]
    code, out, _ = tables.run("plan", tables.job(datasets=both), "--json")
    assert (code, [each["dataset"] for each in json.loads(out)["datasets"]]) == (0, names)


def test_one_prefix_is_enough(tables: Tables, inline_cluster: InlineCluster) -> None:
    datasets = source("sales", "stores"), source("costs", "more", prefix="costs: ")
    outcome = gridline.train(tables.job(datasets=datasets))
    assert set(statuses(outcome)) == {"p", "q", "costs: p", "costs: q"}


def test_sources_with_other_groups_keep_their_names(tables: Tables, inline_cluster: InlineCluster) -> None:
    outcome = gridline.train(tables.job(datasets=(source("north", "stores"), source("south", "others"))))
    assert set(statuses(outcome)) == {"p", "q", "r", "s"}


def test_groups_of_one_file_by_other_columns_are_no_clash(tables: Tables, inline_cluster: InlineCluster) -> None:
    rows = [f"{n},{n * n % 7},{2 * n + n % 3},{'pq'[n % 2]},{'de'[n // 12]}" for n in range(24)]
    tables.write(two="\n".join(["a,b,y,key,day", *rows, ""]))
    datasets = source("stores", "two"), source("days", "two", group_by="day")
    outcome = gridline.train(tables.job(datasets=datasets, epochs=100_000))
    assert set(statuses(outcome)) == {"p", "q", "d", "e"}


def test_equal_names_that_later_rows_show_are_not_committed(tables: Tables, inline_cluster: InlineCluster) -> None:
    folder = tables.folder / "late"
    folder.mkdir()
    (folder / "1.csv").write_bytes((tables.folder / "others.csv").read_bytes())
    (folder / "2.csv").write_bytes((tables.folder / "stores.csv").read_bytes())
    job = tables.job(datasets=(source("sales", "stores"), {**source("costs", ""), "source": "late"}))
    with pytest.raises(gridline.DataError, match="its group 'p' has the name of one of dataset 'sales'"):
        gridline.train(job)
    assert not (tables.folder / "gridline-store" / "versions").exists()


def test_prefix_without_groups_is_refused(tables: Tables) -> None:
    with pytest.raises(ConfigError, match="has no effect without 'group_by': remove it, or write it into 'name'"):
        make_config(tables.job(datasets=({"name": "d", "source": "more.csv", "prefix": "x"},)))
