"""A canary and a shadow in a worker: who answers, what is counted, and how far predictions lie apart."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.answers.answering import Answer
from handler.hosting.distances import distances
from handler.hosting.endpoint import Endpoint
from handler.hosting.rollout_counts import BOUNDS, RolloutCounts, read_counts, sum_of
from handler.hosting.rollout_files import ALIVE, COUNTS, LEASE_S, MODEL, ROLLOUTS, Kind, Wanted
from handler.hosting.rollout_watch import RolloutWatch
from handler.hosting.rollouts import MAX_BODY_BYTES, MAX_WAITING, Rollout
from handler.models import fleet_files
from handler.models.fleet import Fleet
from handler.models.stack import Stack
from handler.requests.payload import Request
from handler.rows.model_card import Feature, ModelCard
from model_store import open_ledger
from model_store.archives.version_fleet import fleet_of_version
from model_store.ledger.ledger import Ledger
from tests.samples.fleets import commit_models, fitted
from tests.servers.rollouts import MODEL as COLLECTION

NORTH = {"dataset": "north", "instances": [[3, 1]]}


def fleet(ledger: Ledger, version: int) -> Fleet:
    return fleet_of_version(ledger.version(COLLECTION, version))


def fleet_of(folder: Path, models: Mapping[str, Stack]) -> Fleet:
    return fleet_of_version(commit_models(open_ledger(str(folder)), COLLECTION, models))


def asked(document: Mapping[str, Any], **of_request: Any) -> Request:
    return Request(json.dumps(document).encode(), **of_request)


def version_of(answer: Answer) -> int:
    return int(json.loads(answer.body)["model"]["version"])


def rollout(base: Fleet, new: Fleet, kind: Kind = "canary", share: float = 0.25) -> Rollout:
    return Rollout(base, new, Wanted("plants-2-00000000", kind, 2, 1, share))


@pytest.fixture
def one(five_versions: Ledger) -> Fleet:
    return fleet(five_versions, 1)


@pytest.fixture
def two(five_versions: Ledger) -> Fleet:
    return fleet(five_versions, 2)


@pytest.mark.parametrize(("share", "expected"), [(0.05, 5), (0.25, 25), (1.0, 100)])
def test_a_canary_answers_exactly_its_share(one: Fleet, two: Fleet, share: float, expected: int) -> None:
    canary = rollout(one, two, share=share)
    versions = [version_of(canary.answer([asked(NORTH)])[0]) for _ in range(100)]
    assert versions.count(2) == expected
    assert (canary.counts.requests, canary.counts.tried, canary.counts.errors) == (100, expected, 0)


def test_a_canary_answers_a_batch_in_its_order(one: Fleet, two: Fleet) -> None:
    canary = rollout(one, two, share=0.5)
    areas = [1, 2, 3, 4]
    answers = canary.answer([asked({"dataset": "north", "instances": [[area, 1]]}) for area in areas])
    assert [version_of(answer) for answer in answers] == [1, 2, 1, 2]
    predictions = [json.loads(answer.body)["predictions"][0] for answer in answers]
    step = predictions[2] - predictions[0]
    assert predictions[3] - predictions[1] == pytest.approx(step)


def test_an_address_that_names_the_version_is_answered_by_it(one: Fleet, two: Fleet) -> None:
    canary = rollout(one, two, share=1.0)
    assert version_of(canary.answer([asked(NORTH, names_version=True)])[0]) == 1
    assert canary.counts.requests == 0


def test_what_only_the_canary_refuses_is_answered_by_the_old_version_and_counted(one: Fleet, tmp_path: Path) -> None:
    new = fleet_of(tmp_path, {"south": fitted(ModelCard("y", (Feature("area"),)), 2)})
    canary = rollout(one, new, share=1.0)
    [answer] = canary.answer([asked(NORTH)])
    assert (answer.status, version_of(answer)) == (200, 1)
    assert canary.counts.errors == 1
    assert "dataset 'north' is not in version" in str(canary.counts.error)


def test_what_both_refuse_is_no_error_of_the_canary(one: Fleet, two: Fleet) -> None:
    canary = rollout(one, two, share=1.0)
    [answer] = canary.answer([asked({"dataset": "nowhere", "instances": [[3, 1]]})])
    assert answer.status == 404
    assert canary.counts.errors == 0


def test_a_shadow_answers_nothing_and_is_compared(one: Fleet, two: Fleet) -> None:
    shadow = rollout(one, two, "shadow", share=0.0)
    assert version_of(shadow.answer([asked(NORTH)])[0]) == 1
    assert shadow.counts.tried == 0
    shadow.compare_some(time.monotonic() + 0.01)
    assert (shadow.counts.tried, shadow.counts.compared, shadow.counts.errors) == (1, 1, 0)
    assert shadow.counts.distance_dataset == "north"
    assert shadow.counts.distance_max > 1


def test_a_shadow_counts_what_only_it_would_refuse(one: Fleet, tmp_path: Path) -> None:
    shadow = rollout(one, fleet_of(tmp_path, {"south": fitted(ModelCard("y", (Feature("area"),)), 2)}), "shadow")
    shadow.answer([asked(NORTH)])
    shadow.compare_some(time.monotonic() + 0.01)
    assert (shadow.counts.tried, shadow.counts.errors, shadow.counts.compared) == (1, 1, 0)


def test_requests_that_come_too_fast_or_are_too_large_are_answered_and_not_compared(one: Fleet, two: Fleet) -> None:
    shadow = rollout(one, two, "shadow")
    large = asked(NORTH | {"id": "x" * MAX_BODY_BYTES})
    assert shadow.answer([large])[0].status == 200
    shadow.compare_some(time.monotonic() + 0.001)
    assert shadow.counts.tried == 0
    for _ in range(MAX_WAITING + 10):
        shadow.answer([asked(NORTH)])
    assert len(shadow._waiting) == MAX_WAITING


def test_distance_is_in_residual_standard_deviations_of_the_old_model(one: Fleet, two: Fleet) -> None:
    mixed = {"dataset": ["north", "east"], "instances": [{"area": 3, "depth": 1}, {"area": 3, "color": "red"}]}
    distance_n, datasets = distances(one, two, asked(mixed))
    assert datasets == ["north", "east"]
    for distance, dataset in zip(distance_n, datasets, strict=True):
        place = one.place(one.position(dataset))
        statistics = one.stacks[place.stack].statistics
        assert statistics is not None
        assert statistics.residual_variance_m is not None
        assert distance == pytest.approx(1.0 / np.sqrt(statistics.residual_variance_m[place.row]))


def test_distance_of_a_transformed_target_is_on_the_scale_of_training(tmp_path: Path) -> None:
    card = ModelCard("y", (Feature("area"),), target_transform="log1p")
    plain, moved = (fleet_of(tmp_path / str(shift), {"a": fitted(card, 1, shift)}) for shift in (0.0, 0.5))
    distance_n, _ = distances(plain, moved, asked({"instances": [[3]]}))
    statistics = plain.stacks[0].statistics
    assert statistics is not None
    assert statistics.residual_variance_m is not None
    assert distance_n[0] == pytest.approx(0.5 / np.sqrt(statistics.residual_variance_m[0]))


def test_distance_without_a_standard_deviation_is_known_only_if_nothing_moved(tmp_path: Path) -> None:
    card = ModelCard("y", (Feature("area"),))

    def bare(shift: float) -> Fleet:
        return fleet_of(tmp_path / str(shift), {"a": replace(fitted(card, 1, shift), statistics=None)})

    assert distances(bare(0.0), bare(0.0), asked({"instances": [[3]]}))[0] == [0.0]
    assert np.isnan(distances(bare(0.0), bare(0.5), asked({"instances": [[3]]}))[0]).all()


def test_distance_of_a_fit_without_residuals_forgives_rounding(one: Fleet, two: Fleet) -> None:
    place = one.place(one.position("north"))
    statistics = one.stacks[place.stack].statistics
    assert statistics is not None
    assert statistics.residual_variance_m is not None
    statistics.residual_variance_m[place.row] = 1e-32
    assert distances(one, one, asked(NORTH))[0] == [0.0]
    assert 10 < distances(one, two, asked(NORTH))[0][0] < 1e7


def test_counts_give_rates_and_quantiles_and_sum_over_workers(tmp_path: Path) -> None:
    counts = RolloutCounts()
    counts.add_distances([0.0015] * 90 + [4.0] * 10, ["a"] * 100)
    counts.add_distances([float("nan"), float("inf")], ["b", "c"])
    assert (counts.quantile(0.5), counts.quantile(0.9)) == (0.002, 5.0)
    assert counts.quantile(1.0) == counts.distance_max == 1e300
    assert (counts.compared, counts.num_rows, counts.unscaled, counts.unscaled_dataset) == (2, 101, 1, "b")
    assert counts.distance_dataset == "c"
    counts.tried = 10
    counts.add_error("gone")
    other = RolloutCounts(tried=30, requests=40)
    for number, one in enumerate((counts, other)):
        one.write(tmp_path / f"{number}.json")
    (tmp_path / "2.json").write_text("{")
    total = sum_of(read_counts(tmp_path))
    assert (total.tried, total.errors, total.error, total.error_rate) == (40, 1, "gone", 1 / 40)
    assert (total.distance_max, total.distance_dataset, len(total.histogram)) == (1e300, "c", len(BOUNDS) + 1)
    assert RolloutCounts().quantile(0.99) == 0.0


class Folder:
    """The folder `control` with a canary of version 2 beside version 1."""

    def __init__(self, control: Path, new: Fleet | None) -> None:
        self.control = control
        self.what = Wanted("plants-2-0a0a0a0a", "canary", 2, 1, 0.5)
        self.folder = self.what.folder(control)
        if new is not None:
            (self.folder / MODEL).mkdir(parents=True)
            fleet_files.write(new, self.folder / MODEL)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ALIVE).touch()
        self.want(asdict(self.what))

    def want(self, entry: Mapping[str, Any] | None) -> None:
        partial = self.control / "partial"
        partial.write_text(json.dumps({} if entry is None else {COLLECTION: entry}))
        partial.replace(self.control / ROLLOUTS)

    def counts(self) -> list[RolloutCounts]:
        return read_counts(self.folder / COUNTS)


def test_a_worker_begins_a_canary_counts_and_ends_it(one: Fleet, two: Fleet, tmp_path: Path) -> None:
    endpoint = Endpoint(one)
    watch = RolloutWatch(endpoint, tmp_path)
    assert watch.look()
    assert endpoint.rollout is None
    wanted = Folder(tmp_path, two)
    watch.look()
    assert [version_of(endpoint.respond([asked(NORTH)])[0]) for _ in range(4)] == [1, 2, 1, 2]
    watch._written_at = 0.0
    watch.look()
    assert [(one.pid, one.requests) for one in wanted.counts()] == [(os.getpid(), 4)]
    wanted.want(None)
    watch.look()
    assert endpoint.rollout is None
    assert version_of(endpoint.respond([asked(NORTH)])[0]) == 1


def test_a_worker_of_another_version_takes_no_part(two: Fleet, tmp_path: Path) -> None:
    endpoint = Endpoint(two)
    Folder(tmp_path, two)
    RolloutWatch(endpoint, tmp_path).look()
    assert endpoint.rollout is None


def test_a_canary_that_nobody_watches_ends_by_itself(one: Fleet, two: Fleet, tmp_path: Path) -> None:
    endpoint, wanted = Endpoint(one), Folder(tmp_path, two)
    watch = RolloutWatch(endpoint, tmp_path)
    watch.look()
    assert endpoint.rollout is not None
    long_ago = time.time() - 2 * LEASE_S
    os.utime(wanted.folder / ALIVE, (long_ago, long_ago))
    watch._written_at = 0.0
    watch.look()
    assert endpoint.rollout is None
    assert "did not watch" in str(sum_of(wanted.counts()).problem)


def test_a_worker_tells_why_it_cannot_open_the_new_version(one: Fleet, tmp_path: Path) -> None:
    endpoint, wanted = Endpoint(one), Folder(tmp_path, None)
    RolloutWatch(endpoint, tmp_path).look()
    assert endpoint.rollout is None
    [told] = wanted.counts()
    assert "is not complete" in str(told.problem)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../elsewhere"},
        {"id": ".."},
        {"kind": "x"},
        {"share": 2},
        {"share": None},
        {"version": "x"},
        {"base": []},
    ],
)
def test_a_worker_ignores_what_gridline_did_not_write(
    one: Fleet, two: Fleet, tmp_path: Path, change: dict[str, Any]
) -> None:
    endpoint, wanted = Endpoint(one), Folder(tmp_path, two)
    wanted.want(asdict(wanted.what) | change)
    RolloutWatch(endpoint, tmp_path).look()
    assert endpoint.rollout is None
    (tmp_path / ROLLOUTS).write_text("[")
    assert RolloutWatch(endpoint, tmp_path).look()


def test_the_watch_ends_with_its_endpoint(one: Fleet, tmp_path: Path) -> None:
    endpoint = Endpoint(one)
    watch = RolloutWatch(endpoint, tmp_path)
    assert watch.look()
    del endpoint
    gc.collect()
    assert not watch.look()
