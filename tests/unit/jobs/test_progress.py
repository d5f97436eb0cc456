"""Progress: lines where there is no terminal, and nothing where it is to be quiet."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

import gridline
from jobs import progress
from jobs.cluster import checkpoint_stream
from jobs.cluster.checkpoint_stream import Told
from jobs.progress import Progress
from tests.servers.inline_cluster import InlineCluster


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def counted(stream: io.StringIO, *, quiet: bool = False) -> str:
    with Progress(stream, quiet).counting("datasets trained", 3) as advance:
        for name in "abc":
            advance(name)
    return stream.getvalue()


def test_progress_says_the_last_of_a_quick_count_only() -> None:
    assert counted(io.StringIO()) == "gridline: 3 of 3 datasets trained (last: c), 0 s left\n"


def test_progress_says_each_when_they_are_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    lines = counted(io.StringIO()).splitlines()
    assert [line.partition(" datasets")[0] for line in lines] == [f"gridline: {done} of 3" for done in (1, 2, 3)]


def test_progress_that_is_quiet_says_nothing() -> None:
    stream = io.StringIO()
    Progress(stream, quiet=True).say("hello")
    assert counted(stream, quiet=True) == ""


def test_progress_on_a_terminal_leaves_no_line_behind() -> None:
    written = counted(Terminal())
    assert "3 of 3 datasets trained" in written
    assert "gridline: " not in written


def test_progress_of_running_tasks_has_epochs_rows_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    told = list[tuple[str, Any]]()
    with Progress(write=lambda text, fields: told.append((text, fields))).counting("datasets trained", 4) as count:
        count.told("a", Told(0.5, 50, 100, 500))
        count.told("b", Told(1.5, 50, 100, 1500))
        count.ended("b")
        count("b")
    texts, fields = zip(*told, strict=True)
    assert re.fullmatch(r"0 of 4 datasets trained, epoch 50 of 100 of b, \d+ rows/s, \d+ s left", texts[1])
    assert re.fullmatch(r"1 of 4 datasets trained \(last: b\), \d+ s left", texts[2])
    assert {"done", "total", "epoch", "epochs", "rows_per_s", "left_s"} == fields[1].keys()


@pytest.mark.parametrize("grouped", [False, True], ids=["listed", "groups"])
@pytest.mark.parametrize("validation", [None, {"folds": 3}])
def test_progress_of_a_minibatch_job_tells_every_epoch_of_every_fit(
    inline_cluster: InlineCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grouped: bool, validation: Any
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(checkpoint_stream, "TELL_EVERY_S", 0.0)
    rows = [f"{key},{u},{2 * u + key}" for key in (1, 2) for u in range(30)]
    (tmp_path / "a.csv").write_text("\n".join(["key,u,y", *rows]))
    dataset = {"name": "a", "source": "a.csv", "target": "y", "features": ["u"], "validation": validation}
    job = {
        "name": "plants",
        "datasets": [dataset | ({"group_by": ["key"]} if grouped else {})],
        "grid": {"learning_rate": [0.001]},
        "training": {"epochs": 5, "batch_size": 8, "normalize": True},
    }
    told: list[str] = []
    tell = Progress(write=lambda text, fields: told.append(text))
    gridline.train(job, store=str(tmp_path / "store"), base=tmp_path, progress=tell)
    epochs = [int(found[1]) for text in told if (found := re.search(r"epoch (\d) of 5 of a", text))]
    num_fits = 1 if validation is None else 4
    assert len(epochs) >= 5 * num_fits
    assert epochs[-5:] == [1, 2, 3, 4, 5]
    left = [text.rpartition(", ")[2] for text in told if "epoch" in text]
    assert left[-1].endswith("s left")
