"""Nothing lost, nothing twice, nothing half: many writers, killed writers, a killed server.

The full counts are those of docs/reliability.md; GRIDLINE_SOAK_SCALE=0.1 runs a tenth of each.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_store.errors import StoreUnreachableError
from model_store.ledger.checkpoints import write_checkpoint
from model_store.ledger.ledger import Ledger
from model_store.objects.opening import open_objects
from model_store.objects.protocol import ObjectStore
from model_store.objects.s3_settings import S3Settings
from tests.samples.models import commit, sample_stack
from tests.servers import ceph
from tests.servers.stores import ACCESS_KEY_ID, ROOT, SECRET_ACCESS_KEY, Place, S3Server
from tests.soak.ledger_writer import PATIENT

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
SCALE = float(os.environ.get("GRIDLINE_SOAK_SCALE", "1"))


def scaled(count: int, at_least: int) -> int:
    return max(at_least, round(count * SCALE))


@pytest.fixture(params=["folder", pytest.param("ceph", marks=pytest.mark.s3)])
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store that keeps what it was given."""
    if request.param == "folder":
        return Place(str(tmp_path / "store"))
    server: S3Server = request.getfixturevalue("ceph_server")
    return Place(f"s3://{server.new_bucket()}/p", server.settings)


@pytest.fixture
def start_writer(durable: Place, tmp_path: Path) -> Callable[[str, int], subprocess.Popen[str]]:
    """A function that starts a process which commits so many times."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(write_checkpoint(sample_stack([1.0])))
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY}
    endpoint = {"AWS_ENDPOINT_URL": durable.settings.endpoint_url or ""} if durable.settings else {}

    def start(writer: str, num_commits: int) -> subprocess.Popen[str]:
        arguments = [durable.uri, writer, str(num_commits), str(checkpoint)]
        command = [sys.executable, "-m", "tests.soak.ledger_writer", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, **pipes, text=True, cwd=ROOT, env=os.environ | keys | endpoint)  # type: ignore[call-overload,no-any-return]

    return start


StartWriter = Callable[[str, int], subprocess.Popen[str]]


def assert_whole(place: Place, acknowledged: list[tuple[int, str]]) -> int:
    """Check that the history has no gap, every acknowledged commit once, and nothing broken; return its length."""
    ledger = Ledger(place.open())
    history = ledger.history("plants")
    assert [version.number for version in history] == list(range(len(history), 0, -1))
    assert [old.commit_id for old in history[1:]] == [new.parent for new in history[:-1]]
    found = {(version.number, version.commit_id) for version in history}
    assert len(found) == len(history)
    assert acknowledged
    assert set(acknowledged) <= found
    assert ledger.verify("plants") == []
    return len(history)


def acknowledged_by(output: str) -> list[tuple[int, str]]:
    whole_lines = [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n")]
    return [(int(number), commit_id) for number, commit_id in whole_lines]


def test_8_writers_of_15_commits_make_120_versions(durable: Place, start_writer: StartWriter) -> None:
    num_commits = scaled(15, 2)
    writers = [start_writer(f"w{writer}", num_commits) for writer in range(8)]
    answers = [writer.communicate() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 8, answers
    acknowledged = [line for output, _ in answers for line in acknowledged_by(output)]
    assert len(acknowledged) == 8 * num_commits == assert_whole(durable, acknowledged)
    datasets = Ledger(durable.open()).version("plants").table(["dataset"])["dataset"].to_pylist()
    assert set(datasets) == {f"w{writer}-{turn}" for writer in range(8) for turn in range(num_commits)}


def test_16_writers_of_one_version_have_one_winner_each_round(durable: Place) -> None:
    stores = [durable.open() for _ in range(16)]
    barrier = threading.Barrier(16)

    def create(objects: ObjectStore, key: str, data: bytes) -> bool:
        barrier.wait()
        return objects.create(key, data)

    with ThreadPoolExecutor(16) as pool:
        for turn in range(scaled(50, 5)):
            key = f"versions/plants/{turn + 1:020d}.json"
            won = list(pool.map(lambda at, key=key: create(stores[at], key, b"writer %d" % at), range(16)))
            assert won.count(True) == 1
            assert stores[0].read(key) == b"writer %d" % won.index(True)


def test_writers_killed_at_random_moments_leave_nothing_half(durable: Place, start_writer: StartWriter) -> None:
    draw = random.Random(0)
    acknowledged: list[tuple[int, str]] = []
    for turn in range(scaled(40, 4)):
        writer = start_writer(f"k{turn}", 1000)
        assert writer.stdout is not None
        first = writer.stdout.readline()  # it has begun: from now on it commits without a pause
        threading.Event().wait(draw.uniform(0.0, 0.2))
        writer.kill()
        rest, _ = writer.communicate()
        acknowledged += acknowledged_by(first + rest)
    num_versions = assert_whole(durable, acknowledged)
    print(f"{scaled(40, 4)} writers killed: {len(acknowledged)} commits acknowledged, {num_versions} versions")
    assert len(acknowledged) <= num_versions <= len(acknowledged) + scaled(40, 4)


@contextmanager
def own_gateway(folder: Path) -> Iterator[ceph.CephGateway]:
    """Run a gateway that may be killed without harm to other tests."""
    if missing := ceph.missing_programs():
        pytest.skip(f"{', '.join(missing)} not installed: {ceph.INSTALL}")
    gateway = ceph.CephGateway(folder)
    try:
        gateway.start(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
        yield gateway
    finally:
        gateway.stop()


@pytest.mark.s3
def test_server_killed_during_commits_loses_none_that_was_acknowledged(tmp_path: Path) -> None:
    draw = random.Random(0)
    stop = threading.Event()
    with own_gateway(tmp_path / "ceph") as gateway:
        settings = S3Settings(gateway.endpoint_url, None, ACCESS_KEY_ID, SECRET_ACCESS_KEY, retry=PATIENT)
        place = Place(f"s3://{S3Server(settings).new_bucket()}/p", settings)

        def write(writer: int) -> list[tuple[int, str]]:
            acknowledged = []
            ledger = Ledger(open_objects(place.uri, settings))
            turn = 0
            while not stop.is_set():
                turn += 1
                try:
                    version = commit(ledger, "plants", {f"w{writer}": -float(turn)})
                except StoreUnreachableError:
                    continue  # it said that it does not know
                assert version is not None
                acknowledged.append((version.number, version.commit_id))
            return acknowledged

        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, writer) for writer in range(4)]
            for _ in range(scaled(20, 2)):
                time.sleep(draw.uniform(0.2, 1.0))
                gateway.kill_gateway()
                gateway.start_gateway()
            stop.set()
            acknowledged = [line for writer in writers for line in writer.result()]
        assert acknowledged
        num_versions = assert_whole(place, acknowledged)
        kills = scaled(20, 2)
        print(f"server killed {kills} times: {len(acknowledged)} commits acknowledged, {num_versions} versions")
