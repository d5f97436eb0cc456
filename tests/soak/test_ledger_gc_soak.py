"""Claimed writers, rollbacks, readers and a gc without any grace, all at once: no version ever names what is gone."""

from __future__ import annotations

import itertools
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_store.errors import MissingObjectError, RunClaimedError, StoreError, UnknownVersionError
from model_store.ledger.champion_table import rows_to_table
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Draft, Version
from tests.samples.models import store_rows
from tests.servers.stores import Place, S3Server

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1"))
LENGTH_S = max(5.0, 60.0 * SCALE)
PAUSE_S = 0.5


@pytest.fixture(params=["folder", pytest.param("ceph", marks=pytest.mark.s3)])
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(str(tmp_path / "store"))
    server: S3Server = request.getfixturevalue("ceph_server")
    return Place(f"s3://{server.new_bucket()}/p", server.settings)


class Chaos:
    """What the threads share: when to stop, and what went wrong."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.ends_at = time.monotonic() + LENGTH_S
        self.counts = dict.fromkeys(("commits", "rollbacks", "removed", "reads", "gone"), 0)
        self.problems: list[str] = []
        self.lock = threading.Lock()

    def goes_on(self) -> bool:
        return time.monotonic() < self.ends_at

    def count(self, what: str, number: int = 1) -> None:
        with self.lock:
            self.counts[what] += number

    def write(self, writer: int) -> None:
        """Commit the same few models again and again, so that old blobs are stored anew."""
        for turn in itertools.count():
            if not self.goes_on():
                return
            ledger = Ledger(self.place.open())

            def propose(head: Version | None, turn: int = turn, ledger: Ledger = ledger) -> Draft:
                return Draft(rows_to_table(store_rows(ledger, {"a": float(turn % 3), "b": float(writer)})), "r")

            with ledger.run(f"writer-{writer}-{turn}").claim():
                ledger.transact("plants", propose)
            self.count("commits")
            threading.Event().wait(PAUSE_S)  # without a live run gc removes what it may

    def roll_back(self) -> None:
        while self.goes_on():
            ledger = Ledger(self.place.open())
            try:
                ledger.rollback("plants", max(1, ledger.version("plants").number - 3))
                self.count("rollbacks")
            except (UnknownVersionError, MissingObjectError):
                self.count("gone")

    def collect(self) -> None:
        while self.goes_on():
            try:
                self.count("removed", len(Ledger(self.place.open()).gc("plants", keep=1, grace_s=0).removed))
            except RunClaimedError as exc:
                self.problems.append(str(exc))

    def read(self) -> None:
        while self.goes_on():
            try:
                Ledger(self.place.open()).champion("plants", "a")
                self.count("reads")
            except StoreError as exc:
                self.problems.append(f"{type(exc).__name__}: {exc}")


def test_gc_without_grace_beside_all_others_breaks_nothing(durable: Place) -> None:
    chaos = Chaos(durable)
    first = Ledger(durable.open())
    first.transact("plants", lambda head: Draft(rows_to_table(store_rows(first, {"a": 0.0, "b": 0.0}))))
    with ThreadPoolExecutor(6) as pool:
        tasks = [pool.submit(chaos.write, writer) for writer in range(2)]
        tasks += [pool.submit(task) for task in (chaos.roll_back, chaos.collect, chaos.read, chaos.read)]
        for task in tasks:
            task.result()
    print(chaos.counts)
    assert chaos.problems == []
    assert Ledger(durable.open()).verify("plants") == []
    assert chaos.counts["commits"] and chaos.counts["reads"]
