"""A canary or a shadow from the store to a judgement, on a server in this process; and what each ending leaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from handler.hosting.rollout_counts import RolloutCounts
from handler.hosting.rollout_files import ROLLOUTS
from model_store.deployment import canary as canary_module
from model_store.deployment.canary import Judgement, Limits, Tryout, problem_of
from model_store.deployment.errors import DeploymentError, ServerError
from model_store.deployment.following import Follower, deploy_wanted
from model_store.deployment.holds import held, hold
from model_store.deployment.rollout import Deployment, alone
from model_store.deployment.rollout_folder import rolled_out, rolled_out_now
from model_store.deployment.status import status
from tests.servers.rollouts import MODEL, REQUEST, Bench
from tests.servers.torchserve import until

WIDE = Limits(for_s=None, num_requests=5, max_distance=None)
NARROW = Limits(for_s=None, num_requests=5, max_distance=1.0)


@contextmanager
def asking(bench: Bench) -> Iterator[list[int]]:
    """Ask the server without a pause until the block ends; the versions that answered."""
    versions: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.002):
            document = json.loads(bench.server.predict(MODEL, REQUEST).body)
            versions.append(document["model"]["version"])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield versions
    finally:
        stop.set()
        thread.join()


def nothing_left(bench: Bench) -> bool:
    folder = bench.control.folder
    return bench.control.read(ROLLOUTS) == {} and not list((folder / "rollouts").glob("*"))


def roll(bench: Bench, number: int | None, tryout: Tryout) -> Deployment:
    return deploy_wanted(bench.ledger, MODEL, number, bench.target(), tryout.deploy)


@pytest.mark.parametrize("kind", ["canary", "shadow"])
def test_a_version_within_its_limits_is_deployed(bench: Bench, kind: str) -> None:
    bench.roll(4)
    judged: list[Judgement] = []
    tryout = Tryout("shadow" if kind == "shadow" else "canary", 0.5, WIDE, judged.append)
    with asking(bench) as versions:
        assert roll(bench, None, tryout).changed
        until(lambda: versions[-1] == 5)
    assert bench.state()[0] == "5"
    [judgement] = judged
    assert (judgement.kind, judgement.base, judgement.version, judgement.reason) == (kind, 4, 5, None)
    assert judgement.counts.tried >= 5
    assert judgement.counts.distance_max > 1
    assert judgement.document()["distance"]["dataset"] == "north"
    assert nothing_left(bench)
    first_new = versions.index(5)
    assert (4 in versions[first_new:]) == (kind == "canary")


def test_a_canary_that_predicts_something_else_is_taken_off_and_held_against(bench: Bench) -> None:
    bench.roll(4)
    with (
        asking(bench) as versions,
        pytest.raises(
            DeploymentError,
            match=r"the canary of version 5 was taken off: a prediction of dataset 'north' moved by 3\.\d+ residual "
            r"standard deviations, and 1 are allowed; version 4 of 'plants' serves as before",
        ),
    ):
        roll(bench, None, Tryout("canary", 0.5, NARROW))
    assert set(versions) == {4, 5}
    assert bench.state() == ("4", {"4": 1})
    assert nothing_left(bench)
    kept = held(bench.control, MODEL)
    assert kept is not None
    assert (kept.version, kept.rejected) == (4, 5)
    Follower(lambda: bench.ledger, MODEL, bench.target(), lambda done: None).look()
    assert bench.state()[0] == "4"


def test_a_rejected_canary_leaves_a_hold_of_a_rollback(bench: Bench) -> None:
    bench.roll(3)
    hold(bench.control, MODEL, 3, "deploy --version 3")
    with asking(bench), pytest.raises(DeploymentError, match="was taken off"):
        roll(bench, None, Tryout("canary", 1.0, NARROW))
    kept = held(bench.control, MODEL)
    assert kept is not None
    assert kept.rejected is None


def test_a_shadow_only_compares(bench: Bench) -> None:
    bench.roll(4)
    with asking(bench) as versions, alone(bench.target(), MODEL):
        judgement = Tryout("shadow", 0.0, NARROW).compare(bench.ledger, bench.ledger.version(MODEL), bench.target())
    assert "moved by" in str(judgement.reason)
    assert set(versions) == {4}
    assert bench.state() == ("4", {"4": 1})
    assert held(bench.control, MODEL) is None
    assert nothing_left(bench)


def test_status_shows_a_canary_while_it_is_on(bench: Bench) -> None:
    bench.roll(4)
    with rolled_out(bench.control, bench.archive(5), 4, "canary", 0.5), asking(bench):
        until(lambda: (status(bench.target(), MODEL)["rollout"] or {}).get("tried", 0) > 3)
        shown = status(bench.target(), MODEL)["rollout"]
        assert (shown["kind"], shown["version"], shown["base"]) == ("canary", 5, 4)
    assert status(bench.target(), MODEL)["rollout"] is None


def test_an_interruption_takes_the_canary_off(bench: Bench) -> None:
    bench.roll(4)
    interrupted = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), rolled_out(bench.control, bench.archive(5), 4, "canary", 0.5):
        raise interrupted
    assert nothing_left(bench)
    assert bench.state() == ("4", {"4": 1})


def test_the_next_deployment_takes_the_canary_of_a_killed_one_off(bench: Bench) -> None:
    bench.roll(4)
    left = rolled_out(bench.control, bench.archive(5), 4, "canary", 0.5)
    left.__enter__()
    temporary, others = (bench.control.folder / f"gridline-deploy-{name}-abcdefg_" for name in (MODEL, f"{MODEL}-b"))
    temporary.mkdir()
    others.mkdir()
    assert rolled_out_now(bench.control, MODEL) is not None
    with alone(bench.target(), MODEL):
        assert nothing_left(bench)
        assert (temporary.exists(), others.exists()) == (False, True)


def test_nothing_to_compare_with_is_said(bench: Bench) -> None:
    with pytest.raises(DeploymentError, match=r"no version of 'plants' serves .* deploy it without --canary"):
        roll(bench, None, Tryout("canary", 0.5, WIDE))
    assert bench.state() == (None, {})


def test_a_follower_deploys_the_first_version_without_a_canary_and_the_next_with_one(bench: Bench) -> None:
    tryout = Tryout("canary", 0.5, WIDE, is_first_deployed=True)
    looking = Follower(lambda: bench.ledger, MODEL, bench.target(), lambda done: None, tryout.deploy)
    assert looking.look()
    assert bench.state()[0] == "5"


def test_workers_that_read_no_folder_end_a_canary(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench.roll(4)
    monkeypatch.setattr(canary_module, "BEGIN_TIMEOUT_S", 0.5)
    bench.control.folder = tmp_path / "elsewhere"
    with pytest.raises(DeploymentError, match=r"of version 4 do not read .*: start the server by 'gridline serve'"):
        roll(bench, None, Tryout("canary", 0.5, WIDE))
    assert nothing_left(bench)


def test_a_canary_ends_when_another_version_becomes_the_default(bench: Bench) -> None:
    bench.roll(3)
    bench.roll(4)
    timer = threading.Timer(0.6, lambda: bench.server.set_default(MODEL, "3"))
    timer.start()
    with pytest.raises(DeploymentError, match="version 3 became the default meanwhile"):
        roll(bench, None, Tryout("canary", 0.5, Limits(for_s=30.0)))
    timer.join()


def test_a_canary_on_a_full_disk_is_an_error_in_one_line(bench: Bench, full_disk: Callable[[], None]) -> None:
    bench.roll(4)
    archive = bench.archive(5)
    full_disk()
    with (
        pytest.raises(ServerError, match="can't be written: File too large; make room there"),
        rolled_out(bench.control, archive, 4, "canary", 0.5),
    ):
        pass


@pytest.mark.parametrize(
    ("counts", "is_over", "reason"),
    [
        (RolloutCounts(tried=100, errors=2, compared=98), False, "2 of 100 requests (2.00%) were refused only by it"),
        (RolloutCounts(tried=99, errors=2, compared=97), False, None),
        (RolloutCounts(tried=99, errors=2, compared=97), True, "2 of 99 requests"),
        (RolloutCounts(tried=200, errors=2, compared=98), True, None),
        (
            RolloutCounts(tried=1, compared=1, distance_max=3.1, distance_dataset="a"),
            False,
            "'a' moved by 3.1 residual",
        ),
        (RolloutCounts(tried=1, compared=1, distance_max=3.0), True, None),
        (RolloutCounts(tried=1, compared=1, unscaled=1, unscaled_dataset="b"), False, "set --max-distance none"),
        (RolloutCounts(), False, None),
        (RolloutCounts(), True, "no request came for it"),
        (RolloutCounts(tried=5), True, "no prediction could be compared"),
    ],
)
def test_problem_of_counts(counts: RolloutCounts, is_over: bool, reason: str | None) -> None:
    found = problem_of(counts, Limits(), is_over=is_over)
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)
