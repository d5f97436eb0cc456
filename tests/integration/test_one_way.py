"""Listed datasets and groups come to the same: the same rows, once in a file each and once as groups of one file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from jobs.cli import main
from jobs.engines.hyperparameters import HYPERPARAMETERS, reads
from jobs.engines.losses import LOSSES
from jobs.engines.optimizers import OPTIMIZERS
from jobs.engines.settings import REGISTRIES
from jobs.groups.stored import part_of_bytes
from model_store import open_ledger
from tests.integration.farms import groups
from tests.servers.inline_cluster import InlineCluster

GOOD = ("a", "10", "9")  # in the order of text: 10, 9, a
WIDE, SHORT = "wide", "one row"  # one diverges at every rate, one can't be regressed on
OF_THE_STORE = ("checkpoint", "checkpoint_size", "row", "statistics", "statistics_size", "run_id", "trained_at")
OF_THE_ROWS = ("fingerprint",)  # of a group, whatever the order of its rows
VALIDATIONS: dict[str, Any] = {"none": None, "fraction": {"fraction": 0.3, "seed": 1}, "folds": {"folds": 3, "seed": 1}}
RATES = [0.05, 0.2]
VALUES = {bool: [False, True], float: [0.25, 0.75]}  # of any hyperparameter, for a grid


@dataclass(frozen=True)
class Case:
    """A job but for its datasets, and how near the numbers of both ways are."""

    training: Mapping[str, Any]
    grid: Mapping[str, Any]
    validation: str
    tolerance: float
    select: Mapping[str, Any]


def case(validation: str, grid: Mapping[str, Any] | None = None, select: Any = None, **training: Any) -> Case:
    exact = training.get("engine") == "closed_form" and not (grid or {}).get("learning_rate")
    tolerance = (
        1e-12 if exact else 1e-9
    )  # automatic rates come from eigenvalues, of which the wide dataset's are far apart
    return Case(
        {"dtype": "float64"} | training, {"learning_rate": RATES, **(grid or {})}, validation, tolerance, select or {}
    )


def grids() -> Iterator[tuple[str, Case]]:
    """Yield a job with a grid over each hyperparameter, under a setting that reads it, by each engine that can."""
    for hyper in HYPERPARAMETERS:
        settings: dict[str, Any] = {"momentum": 0.5} if hyper.name == "nesterov" else {}
        owners = [
            (key, name) for key in REGISTRIES for name, kind in REGISTRIES[key].items() if hyper.name in reads(kind)
        ]
        settings |= dict(owners)
        if hyper.name in reads(OPTIMIZERS["sgd"]):
            settings["optimizer"] = "sgd"
        for engine in ("minibatch", *(["closed_form"] if settings.get("optimizer") == "sgd" else [])):
            values = VALUES[type(hyper.default)]
            yield f"grid of {hyper.name}, {engine}", case("fraction", {hyper.name: values}, engine=engine, **settings)


CASES: dict[str, Case] = {
    **{f"closed form, {kind}": case(kind, engine="closed_form") for kind in VALIDATIONS},
    **{f"{loss}, {kind}": case(kind, engine="minibatch", loss=loss) for loss in LOSSES for kind in VALIDATIONS},
    **{
        f"{optimizer}, batches": case("fraction", engine="minibatch", batch_size=8, optimizer=optimizer)
        for optimizer in OPTIMIZERS
    },
    **dict(grids()),
    "automatic rates": case("fraction", {"learning_rate": "auto"}, engine="closed_form"),
    "normalized": case("folds", engine="minibatch", normalize=True),
    "by a loss": case("fraction", select={"metric": "val_loss"}, engine="minibatch", loss="huber"),
    "through the origin": case("none", engine="closed_form", bias=False, inference_statistics=False),
}


def table(names: tuple[str, ...]) -> pa.Table:
    """Return the rows of datasets on one plane; one of them in units in which every rate is too large."""
    rows = groups([name for name in names if name != SHORT], rows_each=20, noise=0.3)
    if WIDE in names:
        wide = np.where(pc.equal(rows["key"], WIDE).to_numpy(zero_copy_only=False), 1e5, 1.0)
        for place, name in enumerate(("u", "v")):
            rows = rows.set_column(place, name, pa.array(rows[name].to_numpy() * wide))
    return pa.concat_tables([rows, groups([SHORT], rows_each=1)]) if SHORT in names else rows


class Ways:
    """Jobs over the same rows: `listed` datasets, a file each, and `groups` of one file, in a store each."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], of: Case, names: tuple[str, ...]) -> None:
        self.folder, self.capsys, self.case, self.names = folder, capsys, of, names
        rows = table(names)
        pq.write_table(rows, folder / "all.parquet")
        for number, name in enumerate(names):
            pq.write_table(rows.filter(pc.equal(rows["key"], name)), folder / f"{number}.parquet")

    def train(self, way: str) -> tuple[int, Any]:
        return self.command("train", str(self._job(way)), "--store", self.store(way))

    def show(self, way: str, name: str) -> Any:
        code, shown = self.command("models", "show", "farms", name, "--store", self.store(way))
        assert code == 0
        return shown

    def trials(self, way: str) -> list[dict[str, Any]]:
        """Return the rows of the trials under the run, in the order of names."""
        root = Path(self.store(way)) / "runs"
        (run_id,) = (path.name for path in root.iterdir())
        folder = open_ledger(self.store(way)).run(run_id)
        kind = "trials/*.parquet" if way == "listed" else "parts/*/*/*"
        names = [path.relative_to(root / run_id).as_posix() for path in root.glob(f"{run_id}/{kind}")]
        found = [data for name in names if (data := folder.read(name)) is not None]
        if way == "groups":  # after a line with the keys
            found = [part_of_bytes(data.partition(b"\n")[2], "part").trials or b"" for data in found]
        rows = [row for data in found if data for row in pq.read_table(io.BytesIO(data)).to_pylist()]
        return sorted(rows, key=lambda row: str(row["dataset"]))

    def command(self, *arguments: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        assert isinstance(ended.value.code, int)
        return ended.value.code, json.loads(self.capsys.readouterr().out)

    def store(self, way: str) -> str:
        return str(self.folder / way)

    def _job(self, way: str) -> Path:
        columns = {"target": "y", "features": ["u", "v"], "validation": VALIDATIONS[self.case.validation]}
        datasets = [{"name": name, "source": f"{number}.parquet"} for number, name in enumerate(self.names)]
        if way == "groups":
            datasets = [{"name": "all", "source": "all.parquet", "group_by": "key"}]
        document = {
            "name": "farms",
            "datasets": [dataset | columns for dataset in datasets],
            "grid": dict(self.case.grid),
            "training": {"epochs": 40, **self.case.training},
            "select": dict(self.case.select),
        }
        path = self.folder / f"{way}.yaml"
        path.write_text(yaml.safe_dump(document))
        return path


def assert_same(ours: Any, theirs: Any, tolerance: float, where: str = "") -> None:
    """Compare values of documents: numbers to a tolerance, everything else, keys and their order included, exactly."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), where
        assert list(ours) == list(theirs), where
        for key in theirs:
            if key not in OF_THE_STORE + OF_THE_ROWS:
                assert_same(ours[key], theirs[key], 1e-6 if key.endswith("_curve") else tolerance, f"{where}.{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, tolerance, f"{where}.{at}")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=tolerance, abs=tolerance, nan_ok=True), where
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("name", CASES)
def test_groups_come_to_what_listed_datasets_do(
    inline_cluster: InlineCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    ways = Ways(tmp_path, capsys, CASES[name], (*GOOD, WIDE))
    tolerance = CASES[name].tolerance
    (code, listed), (code_of_groups, of_groups) = ways.train("listed"), ways.train("groups")
    by_name = sorted(listed["datasets"], key=lambda each: str(each["dataset"]))
    assert [each["dataset"] for each in of_groups["datasets"]] == sorted(ways.names)
    assert_same(of_groups["datasets"], by_name, tolerance)
    assert code_of_groups == code
    counts = ("version", "committed", "computed", "reused")
    assert [of_groups[key] for key in counts] == [listed[key] for key in counts]
    for each in by_name:
        assert len({json.dumps(trial) for trial in each["trials"]}) == len(each["trials"])  # each can be told apart
        assert each["best"] is None or each["best"] in each["trials"]
        if each["best"] is not None:
            assert_same(ways.show("groups", each["dataset"]), ways.show("listed", each["dataset"]), tolerance)
    assert_same(ways.trials("groups"), ways.trials("listed"), tolerance)


def test_dataset_that_diverges_at_every_rate_has_the_same_advice(
    inline_cluster: InlineCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = Ways(tmp_path, capsys, CASES["closed form, none"], (*GOOD, WIDE))
    for way in ("listed", "groups"):
        code, printed = ways.train(way)
        assert code == 3
        wide = next(each for each in printed["datasets"] if each["dataset"] == WIDE)
        assert (wide["status"], wide["best"]) == ("no convergence", None)
        assert {trial["status"] for trial in wide["trials"]} == {"diverged"}
        assert "2/λmax" in wide["reason"]


def test_dataset_that_can_not_be_trained_has_the_same_reason(
    inline_cluster: InlineCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A listed dataset fails alone, as a group does."""
    ways = Ways(tmp_path, capsys, CASES["closed form, none"], (*GOOD, SHORT))
    code, listed = ways.train("listed")
    code_of_groups, of_groups = ways.train("groups")
    assert (code, code_of_groups) == (5, 5)
    (failed,) = [each for each in of_groups["datasets"] if each["status"] == "failed"]
    assert failed == {"dataset": SHORT, "status": "failed", "best": None, "trials": [], "reason": failed["reason"]}
    (failed_alone,) = [each for each in listed["datasets"] if each["status"] == "failed"]
    assert failed_alone["dataset"] == SHORT
    assert failed_alone["reason"].endswith(failed["reason"])
