"""The file for node exporter's textfile collector: whole or not at all, and what of an earlier run stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobs.monitoring.metrics import Sample, by_label, families
from jobs.monitoring.textfile import write_textfile

SUCCESS = Sample("last_success_timestamp_seconds", 100.0)


def write(path: Path, *samples: Sample, whole: bool, collection: str = "plants") -> None:
    write_textfile(path, collection, families(collection, samples), whole=whole)


def read(path: Path) -> dict[str, float]:
    """Return the values of a file by name and labels, as Prometheus reads them."""
    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        for each in family.samples:
            found[",".join([each.name.removeprefix("gridline_job_"), *each.labels.values()])] = each.value
    return found


def test_textfile_has_name_help_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "gridline.prom"
    write(path, SUCCESS, *by_label("phase_seconds", "phase", {"read": 1.5, "train": 2.0}), whole=True)
    lines = path.read_text().splitlines()
    assert 'gridline_job_phase_seconds{collection="plants",phase="read"} 1.5' in lines
    assert "# TYPE gridline_job_phase_seconds gauge" in lines
    assert read(path)["last_success_timestamp_seconds,plants"] == 100
    assert [each.name for each in tmp_path.iterdir()] == ["gridline.prom"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_textfile_of_a_run_that_failed_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "gridline.prom"
    write(path, SUCCESS, Sample("drift", 0.5), Sample("last_exit_code", 0), whole=True)
    write(path, Sample("last_exit_code", 4), whole=False)
    assert read(path) == {"last_success_timestamp_seconds,plants": 100, "drift,plants": 0.5, "last_exit_code,plants": 4}


def test_textfile_of_a_whole_run_drops_what_it_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "gridline.prom"
    write(path, SUCCESS, Sample("drift", 0.5), whole=True)
    write(path, Sample("last_success_timestamp_seconds", 200.0), whole=True)
    assert read(path) == {"last_success_timestamp_seconds,plants": 200}


@pytest.mark.parametrize("earlier", ["", "no metrics at all {", "gridline_job_drift{collection="])
def test_textfile_that_is_none_is_replaced(tmp_path: Path, earlier: str) -> None:
    path = tmp_path / "gridline.prom"
    path.write_text(earlier)
    write(path, Sample("last_exit_code", 4), whole=False)
    assert read(path) == {"last_exit_code,plants": 4}


def test_textfile_of_another_collection_is_replaced_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "gridline.prom"
    write(path, SUCCESS, whole=True, collection="animals")
    write(path, Sample("last_exit_code", 4), whole=False)
    assert read(path) == {"last_exit_code,plants": 4}
    assert "collection 'animals'" in caplog.text


def test_textfile_that_can_not_be_written_is_said_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "nothing" / "gridline.prom", SUCCESS, whole=True)
    assert "set --metrics-file" in caplog.text
    assert "No such file" in caplog.text


def test_textfile_keeps_labels_that_need_quotes(tmp_path: Path) -> None:
    path = tmp_path / "gridline.prom"
    for _ in range(2):
        write(path, *by_label("store_requests", "operation", {'Get"Object\n': 3.0}), whole=False)
    assert read(path) == {'store_requests,plants,Get"Object\n': 3}
