"""`import gridline`: few modules, every name, one tree of errors, and a job as a call that prints nothing."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import gridline
from gridline import ConfigError, GridlineError, JobConfig
from handler.errors import EncodingError
from model_store.errors import NewerFormatError, StoreRefusedError, StoreUnreachableError
from tests.e2e.readme import blocks
from tests.servers.inline_cluster import InlineCluster

ROOT = Path(__file__).parents[3]
PLANTS = ROOT / "examples" / "plants.yaml"
HEAVY = {"torch", "numpy", "pydantic", "pyarrow", "ray", "boto3", "yaml", "typer", "jobs", "handler", "model_store"}
DRAWN = re.compile(r"^([│├└─ ]*)(\w+Error) +(\d)   ", re.MULTILINE)


def descendants(kind: type[GridlineError]) -> list[type[GridlineError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in descendants(child))]


def drawn_tree() -> dict[str, tuple[str, int]]:
    """Return the parent and the exit code of each error that the package draws."""
    tree, above = {}, {-1: "Exception"}
    for prefix, name, code in DRAWN.findall(gridline.__doc__ or ""):
        depth = len(prefix) // 4
        above[depth] = name
        tree[name] = (above[depth - 1], int(code))
    return tree


def configuration() -> dict[str, object]:
    loaded = yaml.safe_load(PLANTS.read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_import_loads_nothing_heavy() -> None:
    code = "import gridline, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "gridline" in loaded.split()
    assert HEAVY & set(loaded.split()) == set()


@pytest.mark.parametrize("name", gridline.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(gridline, name).__name__ == name
    assert name in dir(gridline)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'gridline' has no attribute 'fit'"):
        _ = gridline.fit  # type: ignore[attr-defined]


def test_tree_of_errors_is_as_it_is_drawn() -> None:
    errors = [kind for kind in descendants(GridlineError) if kind.__module__.endswith("errors")]
    assert drawn_tree() == {kind.__name__: (kind.__bases__[0].__name__, kind.exit_code) for kind in errors}
    assert {name for name in gridline.__all__ if name.endswith("Error")} == drawn_tree().keys()


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("plants.yaml:1: wrong"),
        StoreUnreachableError("http://127.0.0.1:9", "no answer"),
        StoreRefusedError("models", "key", "denied"),
        NewerFormatError("blob", 9, 1),
        EncodingError("not a number", feature="area", row=3, value="x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_the_way_from_a_worker(error: GridlineError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("kind", ["path", "text", "dictionary", "configuration"])
def test_plan_takes_a_configuration_in_every_form(kind: str) -> None:
    forms = {
        "path": PLANTS,
        "text": str(PLANTS),
        "dictionary": configuration(),
        "configuration": JobConfig.model_validate(configuration()),
    }
    plan = gridline.plan(forms[kind], base=ROOT)  # type: ignore[arg-type]
    assert plan.blocks == (("plant_richness",),)
    assert plan.certificates[0].stability_limit == pytest.approx(0.127323, rel=1e-5)


def test_train_of_a_dictionary_commits_and_prints_nothing(
    inline_cluster: InlineCluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = gridline.train(configuration(), store=str(tmp_path), base=ROOT)
    assert (outcome.version, outcome.committed, outcome.exit_code, outcome.computed) == (1, True, 0, 10)
    assert inline_cluster.num_joined == 1
    assert capfd.readouterr() == ("", "")
    assert gridline.open_ledger(str(tmp_path)).champion("plants", "plant_richness").row["status"] == "converged"


def test_train_dry_run_leaves_the_store_as_it_is(inline_cluster: InlineCluster, tmp_path: Path) -> None:
    outcome = gridline.train(PLANTS, store=str(tmp_path / "store"), base=ROOT, dry_run=True)
    assert (outcome.version, outcome.computed) == (None, 10)
    assert not (tmp_path / "store").exists()


def test_train_goes_to_the_store_that_the_configuration_names(inline_cluster: InlineCluster, tmp_path: Path) -> None:
    gridline.train(configuration() | {"store": {"uri": str(tmp_path / "named")}}, base=ROOT)
    assert gridline.open_ledger(str(tmp_path / "named")).collections() == ["plants"]


def test_dictionary_that_is_wrong_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^grid\.lerning_rate: the key is unknown: .*learning_rate"):
        gridline.plan(configuration() | {"grid": {"lerning_rate": [0.1]}})


def test_readme_python_prints_what_its_comments_say(
    inline_cluster: InlineCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [(section, code)] = blocks("python")
    assert section == "From Python"
    assert len([line for line in code.splitlines() if line]) == 5
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRIDLINE_STORE", raising=False)
    exec(code, {})  # noqa: S102
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.+)$", code, re.MULTILINE)
