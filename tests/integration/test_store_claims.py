"""Claims: one live process at a time, and a dead one's claim is free again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_store.claims import claims
from model_store.claims.claims import holder_of, take_claim
from model_store.claims.process_identity import ProcessIdentity
from model_store.errors import RunClaimedError
from model_store.objects.protocol import ObjectStore
from tests.servers.stores import ROOT, Place

PREFIX = "claims/r1/"


def wait_for(condition: object, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def take(objects: ObjectStore, lease_s: float = 60.0) -> claims.Claim:
    return take_claim(objects, PREFIX, "run 'r1'", lease_s)


def test_claim_has_one_taker_of_many(place: Place) -> None:
    def try_to_take(_: int) -> claims.Claim | None:
        try:
            return take(place.open())
        except RunClaimedError:
            return None

    with ThreadPoolExecutor(6) as pool:
        taken = [claim for claim in pool.map(try_to_take, range(6)) if claim is not None]
    assert len(taken) == 1
    taken[0].release()


def test_claim_beats_and_leaves_one_object(place: Place) -> None:
    objects = place.open()
    claim = take(objects, lease_s=0.3)
    wait_for(lambda: (holder_of(objects, PREFIX) or pytest.fail("no claim")).number >= 4)
    assert len(list(objects.list(PREFIX))) <= 3
    claim.release()
    assert len(list(objects.list(PREFIX))) == 1
    holder = holder_of(objects, PREFIX)
    assert holder is not None and holder.released and not holder.is_live


def test_claim_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom model_store import open_ledger\n"
        f"claim = open_ledger({str(tmp_path)!r}).run('r1').claim()\nprint('claimed', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    with process.stdout as output:
        output.readline()
    objects = Place(str(tmp_path)).open()
    with pytest.raises(RunClaimedError, match=rf"process {process.pid} on .*, last seen \d+ s ago"):
        take(objects)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    take(objects).release()


def elsewhere(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch, lease_s: float) -> claims.Claim:
    """Return a claim that says it is held by a process of another machine, whose heartbeat has stopped."""
    with monkeypatch.context() as patch:
        patch.setattr(claims, "this_process", lambda: ProcessIdentity("far-away", 7, "another machine", "1"))
        claim = take(objects, lease_s)
    claim._stopped.set()
    return claim


def test_claim_of_a_silent_machine_is_free_after_its_lease(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = place.open()
    silent = elsewhere(objects, monkeypatch, lease_s=0.5)
    with pytest.raises(RunClaimedError, match="process 7 on far-away"):
        take(objects)
    holder = holder_of(objects, PREFIX)
    assert holder is not None
    wait_for(lambda: not (holder_of(objects, PREFIX) or holder).is_live)
    with take(objects):
        with pytest.raises(RunClaimedError, match="was taken over by another process"):
            silent.check()
        assert not silent._write(released=False)


def test_claim_without_heartbeats_is_renewed_where_nobody_took_it(place: Place) -> None:
    objects = place.open()
    claim = take(objects, lease_s=0.3)
    claim._stopped.set()  # as in an outage of the store, in which no heartbeat comes through
    wait_for(lambda: claim._is_stale)
    with pytest.raises(RunClaimedError):
        claim.check()
    claim.renew()
    claim.check()
    claim.release()


def test_claim_without_heartbeats_is_lost_where_another_process_had_it_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = place.open()
    silent = elsewhere(objects, monkeypatch, lease_s=0.5)
    wait_for(lambda: not (holder_of(objects, PREFIX) or pytest.fail("no claim")).is_live)
    take(objects).release()
    with pytest.raises(RunClaimedError, match="was taken over by another process"):
        silent.renew()


def test_unreadable_claim_counts_as_held_until_it_is_old(place: Place) -> None:
    objects = place.open()
    objects.create(f"{PREFIX}00000000000000000001.json", b"rubbish")
    with pytest.raises(RunClaimedError, match="an unreadable claim"):
        take(objects)
