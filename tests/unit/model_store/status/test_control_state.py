from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from handler.hosting.rollout_counts import RolloutCounts
from handler.hosting.rollout_files import COUNTS, ROLLOUTS, Wanted
from model_store.deployment.control import HOLDS, Control
from model_store.deployment.holds import hold
from model_store.status.control_state import add_control
from model_store.status.reports import Sums

CANARY = Wanted("stores-2-0123abcd", "canary", version=2, base=1, share=0.05)


def gauges(folder: Path) -> dict[tuple[str, ...], float]:
    """Return the gauges of a control folder, by name and the values of the labels."""
    sums = Sums()
    add_control(sums, folder)
    return {(name, *(value for _, value in labels)): number for (name, labels), number in sums.gauges.items()}


def test_a_follower_tells_when_it_asked_the_store(tmp_path: Path) -> None:
    (tmp_path / "followers").mkdir()
    now = time.time()
    seen = {"last_check": now - 10, "last_success": now - 70, "newest_version": 3, "problem": "no"}
    (tmp_path / "followers" / "stores.json").write_text(json.dumps(seen))
    (tmp_path / "followers" / "others.json").write_text('{"last_check": 0, "last_success": null}')
    (tmp_path / "followers" / "broken.json").write_text("{")
    found = gauges(tmp_path)
    assert found["gridline_store_check_age_seconds", "stores"] == pytest.approx(10, abs=5)
    assert found["gridline_store_success_age_seconds", "stores"] == pytest.approx(70, abs=5)
    assert found["gridline_newest_version", "stores"] == 3
    assert ("gridline_store_success_age_seconds", "others") not in found


def test_a_hold_of_an_operator_and_a_canary_that_was_taken_off_differ(tmp_path: Path) -> None:
    hold(Control(tmp_path), "stores", 4, "deploy --version 4")
    hold(Control(tmp_path), "others", 6, "the canary of version 7 was taken off", rejected=7)
    found = {key: value for key, value in gauges(tmp_path).items() if "disk" not in key[0]}
    assert found == {("gridline_held_version", "stores"): 4, ("gridline_rejected_version", "others"): 7}


def test_a_canary_that_runs_tells_what_all_its_workers_counted(tmp_path: Path) -> None:
    Control(tmp_path).set(ROLLOUTS, "stores", asdict(CANARY))
    for pid in (1, 2):
        path = CANARY.folder(tmp_path) / COUNTS / f"{pid}-1.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        RolloutCounts(pid, tried=10 * pid, errors=1, compared=pid, distance_max=0.5 * pid).write(path)
    found = gauges(tmp_path)
    assert found["gridline_rollout_version", "stores", "canary"] == 2
    assert found["gridline_rollout_requests", "stores", "canary"] == 30
    assert found["gridline_rollout_errors", "stores", "canary"] == 2
    assert found["gridline_rollout_compared_requests", "stores", "canary"] == 3
    assert found["gridline_rollout_distance_max", "stores", "canary"] == 1.0


def test_files_that_are_not_gridline_s_and_a_folder_that_is_not_there_do_no_harm(tmp_path: Path) -> None:
    assert gauges(tmp_path / "missing") == {}
    (tmp_path / HOLDS).write_text('{"stores": {"version": "none"}, "others": 7}')
    (tmp_path / ROLLOUTS).write_text('{"stores": {"kind": "duck"}}')
    assert set(gauges(tmp_path)) == {("gridline_disk_size_bytes",), ("gridline_disk_free_bytes",)}
    (tmp_path / HOLDS).write_text("{")
    assert set(gauges(tmp_path)) == {("gridline_disk_size_bytes",), ("gridline_disk_free_bytes",)}
