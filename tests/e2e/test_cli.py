"""The command line: exit codes, the documents of --json, and for everything wrong one line and a store as before."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store import open_ledger
from tests.servers.command_line import Answer, plain, run
from tests.servers.inline_cluster import InlineCluster

JOB = """\
name: plants
datasets:
  - name: islands
    source: islands.csv
    target: species
    features: [area, height]
grid:
  learning_rate: [0.005, 0.02]
training:
  epochs: 500
store:
  uri: {store}
"""
HEADER = "area,height,species"
ROWS = ("1,5,3.1", "2,1,4.9", "3,4,7.2", "4,2,8.8", "5,3,11.1")
DATA = "\n".join([HEADER, *ROWS, ""])


class Shell:
    """The command line in this process, over a folder with a job, its data, and the place of a store."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capture = folder, capture
        self.store = folder / "store"
        self.write("job.yaml", JOB.format(store=self.store))
        self.write("islands.csv", DATA)

    def write(self, name: str, content: str | bytes) -> None:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def run(self, *arguments: str) -> Answer:
        return run(self.capture, *arguments)

    def train(self, *options: str) -> Answer:
        return self.run("train", str(self.folder / "job.yaml"), *options)

    def contents(self) -> dict[str, bytes]:
        """Return every file of the store, but for the claims, which say which process is at work."""
        files = [path for path in sorted(self.store.rglob("*")) if path.is_file()]
        return {str(path): path.read_bytes() for path in files if "claims" not in path.parts}


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.delenv("GRIDLINE_STORE", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    yield Shell(tmp_path, capsys)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def trained(shell: Shell, inline_cluster: InlineCluster) -> Shell:
    """A shell whose job was trained once: its store has a version."""
    assert shell.train("--json").code == 0
    return shell


def refused(shell: Shell, *arguments: str, code: int = 2) -> str:
    """Return the one line of an error, after checking that nothing else was printed, and nothing stored."""
    before = shell.contents()
    answer = shell.run(*arguments)
    assert answer.code == code
    assert answer.out == ""
    (line,) = map(plain, answer.err.splitlines())
    assert line.startswith("gridline: ")
    assert shell.contents() == before
    return line


CONFIGURATIONS = {
    "unknown key": ("epochs", "epoch", "job.yaml:10: training.epoch: the key is unknown: did you mean 'epochs'?"),
    "wrong type": ("epochs: 500", "epochs: many", "job.yaml:10: training.epochs: 'many' is not a whole number"),
    "impossible combination": ("epochs: 500", "engine: closed_form\n  optimizer: adam", "optimizer: 'adam' has no clo"),
    "hyperparameter of another optimizer": ("epochs: 500", "betas: [0.9, 0.99]", "with 'optimizer: adam' or"),
    "no validation to select by": ("store:", "select: {metric: val_mse}\nstore:", "dataset 'islands' has none"),
    "not YAML": ("grid:", "grid: [", "job.yaml:"),
    "duplicate dataset": (
        "grid:",
        "  - {name: islands, source: islands.csv, target: species, features: [area]}\ngrid:",
        "'islands' is the name of two datasets",
    ),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
@pytest.mark.parametrize("verb", ["train", "plan"])
def test_cli_bad_configuration_is_one_line_and_stores_nothing(trained: Shell, verb: str, case: str) -> None:
    old, new, expected = CONFIGURATIONS[case]
    text = JOB.format(store=trained.store)
    assert old in text
    trained.write("job.yaml", text.replace(old, new, 1))
    assert expected in refused(trained, verb, str(trained.folder / "job.yaml"))


TABLES: dict[str, tuple[str | bytes, str]] = {
    "missing column": (DATA.replace("height", "depth"), "islands.csv:1: column 'height' is missing; found 'area', 'de"),
    "not a number": (DATA.replace("3,4,", "3,tall,"), "islands.csv:4: column 'height': 'tall' is not a number"),
    "NaN": (DATA.replace("3,4,", "3,nan,"), "islands.csv:4: column 'height': 'nan' is missing"),
    "empty cell": (DATA.replace("3,4,", "3,,"), "islands.csv:4: column 'height': '' is missing"),
    "infinite": (DATA.replace("7.2", "inf"), "islands.csv:4: column 'species': 'inf' is infinite"),
    "empty table": (HEADER + "\n", "islands.csv: the table is empty"),
    "empty file": ("", "islands.csv: the file is empty"),
    "constant target": (HEADER + "\n1,2,3\n2,1,3\n3,4,3\n4,3,3\n", "the target 'species' is 3 in every row"),
    "fewer rows than weights": ("\n".join([HEADER, *ROWS[:2], ""]), "2 rows train, and there are 3 weights"),
    "duplicate header": (DATA.replace("height", "area"), "islands.csv:1: column 'area' is there twice"),
    "two delimiters": (DATA.replace(HEADER, HEADER.replace(",", ";")), "islands.csv:2: the row has 1 cell"),
    "short row": (DATA.replace("3,4,7.2", "3,4"), "islands.csv:4: the row has 2 cells"),
    "rubbish": (bytes(range(256)) * 20, "islands.csv: byte 0 is NUL: the file is binary, not text"),
    "not UTF-8": (
        DATA.replace("height", "höhe").encode("latin-1"),
        "islands.csv:1: the header has a byte that is not UTF-8: set 'encoding'",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_cli_bad_data_is_one_line_and_stores_nothing(trained: Shell, case: str) -> None:
    content, expected = TABLES[case]
    trained.write("islands.csv", content)
    line = refused(trained, "train", str(trained.folder / "job.yaml"))
    assert line.startswith("gridline: dataset 'islands': ")
    assert expected in line


def test_cli_missing_file_is_one_line_and_stores_nothing(trained: Shell) -> None:
    (trained.folder / "islands.csv").unlink()
    assert "islands.csv" in refused(trained, "train", str(trained.folder / "job.yaml"))


def test_cli_bad_data_does_not_make_a_store(shell: Shell) -> None:
    shell.write("islands.csv", "")
    refused(shell, "train", str(shell.folder / "job.yaml"))
    assert shell.contents() == {}


def test_cli_missing_configuration_is_one_line(shell: Shell) -> None:
    assert "missing.yaml" in refused(shell, "plan", str(shell.folder / "missing.yaml"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument 'CONFIG'"),
        (["train", "job.yaml", "--rnu-id", "a"], "No such option"),
        (["models", "list", "plants", "--version", "0"], "Invalid value for '--version'"),
    ],
)
def test_cli_wrong_words_are_one_line(shell: Shell, arguments: list[str], expected: str) -> None:
    line = refused(shell, *arguments)
    assert expected in line
    assert line.endswith("See 'gridline --help'.")


def test_cli_error_with_json_is_a_document_too(shell: Shell) -> None:
    shell.write("islands.csv", "")
    answer = shell.train("--json")
    assert answer.document["exit_code"] == answer.code == 2
    assert plain(answer.err) == f"gridline: {answer.document['error']}\n"


@pytest.mark.parametrize("verb", ["list", "history"])
def test_cli_models_of_an_unknown_collection_are_one_line(trained: Shell, verb: str) -> None:
    assert "trees" in refused(trained, "models", verb, "trees", "--store", str(trained.store))


def test_cli_train_json_is_the_documented_one(shell: Shell, inline_cluster: InlineCluster) -> None:
    document = shell.train("--json").document
    assert {"run_id", "collection", "version", "committed", "datasets"} <= document.keys()
    assert (document["collection"], document["version"], document["committed"]) == ("plants", 1, True)
    (dataset,) = document["datasets"]
    assert (dataset["dataset"], dataset["status"], len(dataset["trials"])) == ("islands", "promoted", 2)
    assert dataset["best"] in dataset["trials"]
    for trial in dataset["trials"]:
        assert trial["engine"] == "closed_form"
        assert trial["val_mse"] is None
        assert trial.keys() >= {"learning_rate", "epoch", "status", "diverged_at", "train_mse", "r2"}
        assert list(trial["coefficients"]) == ["intercept", "area", "height"]


def test_cli_train_again_changes_nothing(trained: Shell) -> None:
    before = trained.contents()
    document = trained.train("--json").document
    assert (document["version"], document["committed"]) == (1, False)
    assert document["datasets"][0]["status"] == "kept"
    note = trained.store / "runs" / document["run_id"] / "repetition.json"  # of a run that changed nothing
    assert {path: data for path, data in trained.contents().items() if path != str(note)} == before
    assert document["repeats"] in note.read_text()


def test_cli_train_skips_and_says_what_is_under_way(trained: Shell) -> None:
    (run_id,) = (path.name for path in (trained.store / "runs").iterdir())
    with open_ledger(str(trained.store)).run(run_id).claim():
        answer, document = (
            trained.train("--if-running", "skip"),
            trained.train("--if-running", "skip", "--json").document,
        )
        refused_run, beside = trained.train("--if-running", "fail"), trained.train()
    assert answer.code == 0
    assert re.fullmatch(rf"skipped: run '{run_id}' is under way \(process \d+ on \S+, since \S+\+00:00\)\n", answer.out)
    assert (document["run_id"], document["version"], document["committed"], document["datasets"]) == (
        None,
        1,
        False,
        [],
    )
    assert document["skipped"].keys() == {"run_id", "process", "since"}
    assert refused_run.code == beside.code == 4
    assert refused_run.line.endswith("wait for it to end, or say --if-running wait or skip")


@pytest.mark.parametrize("options", [["--if-running", "queue"], ["--if-running", "wait", "--dry-run"]])
def test_cli_train_refuses_what_has_no_meaning(shell: Shell, options: list[str]) -> None:
    assert "running" in refused(shell, "train", str(shell.folder / "job.yaml"), *options)
    assert shell.contents() == {}


def test_cli_dry_run_trains_and_leaves_the_store_as_it_is(shell: Shell, inline_cluster: InlineCluster) -> None:
    document = shell.train("--dry-run", "--json").document
    assert (document["version"], document["committed"]) == (None, False)
    assert document["datasets"][0]["best"] is not None
    assert shell.contents() == {}


def test_cli_train_prints_the_grid_and_the_champion(shell: Shell, inline_cluster: InlineCluster) -> None:
    answer = shell.train()
    assert answer.code == 0
    for text in ("learning rate", "0.005", "R²", "best", "intercept", "committed plants version 1"):
        assert text in answer.out
    assert answer.err
    assert all(re.match(r"\S+Z INFO run=plants-\S+ ", line) for line in answer.err.splitlines())


def test_cli_exit_code_of_a_grid_that_diverges_is_3(shell: Shell, inline_cluster: InlineCluster) -> None:
    shell.write("job.yaml", JOB.format(store=shell.store).replace("[0.005, 0.02]", "[5.0, 9.0]"))
    answer = shell.train("--json")
    assert answer.code == 3
    (dataset,) = answer.document["datasets"]
    assert (dataset["status"], dataset["best"]) == ("no convergence", None)
    assert "above 0.04919 (2/λmax) descent diverges" in dataset["reason"]
    assert [trial["status"] for trial in dataset["trials"]] == ["diverged", "diverged"]
    assert all(trial["diverged_at"] > 0 and trial["coefficients"] is None for trial in dataset["trials"])
    assert not answer.document["committed"]


def test_cli_exit_code_of_a_dataset_that_fails_is_5_and_the_others_are_committed(
    shell: Shell, inline_cluster: InlineCluster
) -> None:
    other = "  - {name: lakes, source: islands.csv, target: species, features: [area]}\ngrid:"
    shell.write("job.yaml", JOB.format(store=shell.store).replace("grid:", other))

    def fail_first(number: int) -> None:
        if number == 1:
            raise ValueError("the disk\nis full")

    inline_cluster.before = fail_first
    answer = shell.train("--json")
    assert answer.code == 5
    statuses = {each["dataset"]: each["status"] for each in answer.document["datasets"]}
    assert sorted(statuses.values()) == ["failed", "promoted"]
    assert answer.document["committed"]
    (failed,) = [each for each in answer.document["datasets"] if each["status"] == "failed"]
    assert failed["reason"] == "the disk is full"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_cli_exit_code_of_a_cluster_that_is_not_there_is_4(shell: Shell, scheme: str) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        answer = shell.train("--address", address, "--json")
    assert answer.document["exit_code"] == answer.code == 4
    assert answer.document["error"].startswith(f"no Ray cluster at '{address}': ")
    assert open_ledger(str(shell.store)).collections() == []


def test_cli_exit_code_of_a_store_that_can_not_be_written_is_4(shell: Shell, inline_cluster: InlineCluster) -> None:
    shell.write("store", "a file, and no folder")
    answer = shell.train("--json")
    assert answer.document["exit_code"] == answer.code == 4
    assert (shell.folder / "store").read_text() == "a file, and no folder"


def test_cli_exit_code_of_an_interrupt_is_130(shell: Shell, inline_cluster: InlineCluster) -> None:
    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    inline_cluster.before = interrupt
    answer = shell.train("--json")
    assert answer.document["exit_code"] == answer.code == 130
    assert "interrupted" in answer.err


def test_cli_plan_names_engine_blocks_and_verdicts(shell: Shell) -> None:
    document = shell.run("plan", str(shell.folder / "job.yaml"), "--json").document
    assert document["engine"] == "closed_form"
    assert document["blocks"] == [{"datasets": ["islands"]}]
    (certificate,) = document["datasets"]
    assert certificate["stability_limit"] == pytest.approx(2 / certificate["eigenvalue_max"])
    assert [verdict["learning_rate"] for verdict in certificate["verdicts"]] == [0.005, 0.02]
    assert shell.contents() == {}


def test_cli_plan_prints_a_verdict_for_each_rate(shell: Shell) -> None:
    shell.write("job.yaml", JOB.format(store=shell.store).replace("[0.005, 0.02]", "[0.0001, 0.03, 5.0]"))
    answer = shell.run("plan", str(shell.folder / "job.yaml"))
    assert answer.code == 0
    for text in ("stability limit", "condition number", "best rate", "not converged", "diverges at epoch"):
        assert text in answer.out


def test_cli_predict_gives_what_the_model_gives(trained: Shell) -> None:
    store = ("--store", str(trained.store), "--json")
    shown = trained.run("models", "show", "plants", "islands", *store).document["coefficients"]
    answer = trained.run("predict", "plants", "--dataset", "islands", "--set", "area=3", "--set", "height=4", *store)
    expected = shown["intercept"] + 3 * shown["area"] + 4 * shown["height"]
    assert answer.document["predictions"] == pytest.approx([expected])
    assert answer.document["model"] == {"collection": "plants", "version": 1, "dataset": "islands"}


def test_cli_store_is_named_by_the_environment(trained: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(trained.store, tmp_path / "elsewhere")
    monkeypatch.setenv("GRIDLINE_STORE", str(tmp_path / "elsewhere"))
    (champion,) = trained.run("models", "list", "plants", "--json").document["datasets"]
    assert champion["dataset"] == "islands"


def test_cli_schema_is_json(shell: Shell) -> None:
    answer = shell.run("schema")
    assert answer.code == 0
    assert "properties" in json.loads(answer.out)


def test_cli_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from jobs.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Usage: gridline" in ended.stdout
    heavy = {"torch", "ray", "numpy", "pandas", "pyarrow", "pydantic", "boto3", "matplotlib", "sklearn", "rich"}
    assert heavy.isdisjoint(ended.stderr.split())


def test_cli_module_is_the_same_program() -> None:
    ended = subprocess.run([sys.executable, "-m", "jobs"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Usage: gridline" in ended.stderr
