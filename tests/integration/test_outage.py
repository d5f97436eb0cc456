"""A store that goes away while a job trains: nothing is lost, trained twice, or committed twice."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.config import JobConfig
from jobs.progress import Progress
from jobs.run import run_job
from jobs.trials import earlier_runs
from jobs.trials.spool import Spool
from model_store import open_ledger
from model_store.errors import StoreError, StoreRefusedError, StoreUnreachableError
from model_store.ledger.ledger import Ledger
from model_store.objects import retry
from model_store.objects.retry import RetryPolicy
from tests.samples.group_tables import job_of, random_groups
from tests.samples.jobs import Jobs
from tests.servers.fault_proxy import FaultProxy, Faults, no_faults
from tests.servers.inline_cluster import InlineCluster
from tests.servers.stores import Place, S3Server

Proxied = Callable[[Faults], tuple[Place, FaultProxy]]
BRIEF = RetryPolicy(deadline_s=0.2, base_s=0.01, cap_s=0.05)
NUM_DATASETS = 6


class Outage:
    """A job whose store goes away when its first task begins; `spool` is where its machine keeps what it trains."""

    def __init__(self, proxied: Proxied, cluster: InlineCluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place, self.proxy = proxied(no_faults)
        assert place.settings is not None
        self.place = Place(place.uri, replace(place.settings, retry=BRIEF))
        self.jobs = Jobs(folder / "data", NUM_DATASETS, self.place)
        self.spool = folder / "spool"
        self.cluster = cluster
        self.begins_before, self.ends_before = 1, 10**9
        self.fault = "cut_request"
        self.monkeypatch = monkeypatch
        monkeypatch.setenv("GRIDLINE_SPOOL", str(self.spool))
        cluster.before = self._before

    def _before(self, number: int) -> None:
        if number == self.begins_before:
            self.proxy.faults = lambda request: self.fault
        if number == self.ends_before:
            self.proxy.faults = no_faults

    def over(self) -> None:
        """Let the store answer again, for good; the process of the job has ended, with a claim that it still had."""
        self.proxy.faults, self.begins_before = no_faults, 10**9
        self.monkeypatch.setattr("model_store.claims.claims.is_dead", lambda process: True)

    def kept(self) -> list[Path]:
        """Return the files that are kept for runs."""
        return sorted(path for path in self.spool.glob("*/runs/**/*") if path.is_file())

    def lost(self, config: JobConfig | None = None) -> StoreError:
        """Return the error of a job whose store goes away and stays away."""
        with pytest.raises((StoreUnreachableError, StoreRefusedError)) as caught:
            self.jobs.run(config or self.jobs.config())
        self.over()
        return caught.value


@pytest.fixture
def outage(proxied: Proxied, inline_cluster: InlineCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outage:
    return Outage(proxied, inline_cluster, tmp_path, monkeypatch)


def undisturbed(folder: Path, rates: tuple[float, ...] = (0.01, 0.05)) -> dict[str, str]:
    """Return the checkpoints of the same job in a store that never goes away."""
    jobs = Jobs(folder / "undisturbed", NUM_DATASETS)
    jobs.run(jobs.config(rates))
    return jobs.checkpoints()


def test_outage_longer_than_the_time_costs_no_training(outage: Outage, tmp_path: Path) -> None:
    error = outage.lost()
    kept = outage.kept()
    assert error.exit_code == 4 and kept
    number = f"{len(kept)} result{'s' if len(kept) > 1 else ''} of training"
    assert f"{number} (" in str(error) and f"kept in {kept[0].parents[3]}: run again on this machine" in str(error)
    assert "\n" not in str(error) and "tried for 0.2 s" in str(error)
    assert stat.S_IMODE(kept[0].parents[3].stat().st_mode) == 0o700

    second = outage.jobs.run(outage.jobs.config())
    assert (second.computed, second.reused, second.committed, second.version) == (0, 2 * NUM_DATASETS, True, 1)
    assert outage.jobs.checkpoints() == undisturbed(tmp_path)
    assert outage.kept() == []

    third = outage.jobs.run(outage.jobs.config())
    assert (third.computed, third.committed, third.version) == (0, False, 1)


def test_outage_that_ends_while_the_job_trains_is_not_seen_in_its_result(
    outage: Outage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earlier_runs, "TRY_AGAIN_S", 0.0)
    monkeypatch.setattr("jobs.training.driver.BLOCK_BYTES", 1)  # a block for each dataset
    outage.ends_before = 4
    outcome = outage.jobs.run(outage.jobs.config())
    assert (outcome.exit_code, outcome.computed, outcome.committed) == (0, 2 * NUM_DATASETS, True)
    assert outage.jobs.checkpoints() == undisturbed(tmp_path)
    assert outage.kept() == []
    assert outage.jobs.ledger.verify("fruit") == []


def test_outage_that_ends_with_the_training_is_over_when_the_job_commits(outage: Outage, tmp_path: Path) -> None:
    outage.ends_before = 2
    outcome = outage.jobs.run(outage.jobs.config())
    assert (outcome.exit_code, outcome.committed) == (0, True)
    assert outage.jobs.checkpoints() == undisturbed(tmp_path)
    assert outage.kept() == []


def test_run_of_another_configuration_takes_only_the_trials_that_it_has_too(outage: Outage, tmp_path: Path) -> None:
    outage.lost()
    other = outage.jobs.run(outage.jobs.config((0.01, 0.02)))
    assert (other.computed, other.reused, other.committed) == (NUM_DATASETS, NUM_DATASETS, True)
    assert outage.jobs.checkpoints() == undisturbed(tmp_path, (0.01, 0.02))
    assert outage.kept() == []


def test_run_after_the_data_changed_takes_nothing_of_the_changed_dataset(outage: Outage) -> None:
    outage.lost()
    outage.jobs.write("a", seed=77)
    second = outage.jobs.run(outage.jobs.config())
    assert (second.computed, second.reused) == (2, 2 * (NUM_DATASETS - 1))


def test_run_into_another_store_leaves_what_is_kept_for_the_first(outage: Outage, tmp_path: Path) -> None:
    outage.lost()
    before = outage.kept()
    elsewhere = Jobs(outage.jobs.folder, NUM_DATASETS)
    outcome = elsewhere.run(elsewhere.config())
    assert outcome.computed == 2 * NUM_DATASETS
    assert outage.kept() == before


def test_run_on_another_machine_trains_again_and_nothing_is_committed_twice(
    outage: Outage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage.lost()
    monkeypatch.setenv("GRIDLINE_SPOOL", str(tmp_path / "another machine"))
    elsewhere = outage.jobs.run(outage.jobs.config())
    assert (elsewhere.computed, elsewhere.version) == (2 * NUM_DATASETS, 1)
    monkeypatch.setenv("GRIDLINE_SPOOL", str(outage.spool))
    here = outage.jobs.run(outage.jobs.config((0.01, 0.05), training={"seed": 1}))
    assert here.version in (1, 2)
    assert [version.run_id for version in outage.jobs.ledger.history("fruit")][-1] == elsewhere.run_id
    assert outage.kept() == []


def test_damaged_object_in_the_spool_is_trained_again(outage: Outage, tmp_path: Path) -> None:
    outage.lost()
    for path in outage.kept():
        path.write_bytes(path.read_bytes()[:-7] + b"nothing")
    second = outage.jobs.run(outage.jobs.config())
    assert (second.computed, second.committed) == (2 * NUM_DATASETS, True)
    assert outage.jobs.checkpoints() == undisturbed(tmp_path)
    assert outage.kept() == []


def test_store_that_refuses_in_the_middle_of_a_job_loses_nothing(outage: Outage) -> None:
    outage.fault = "403 ExpiredToken"
    error = outage.lost()
    assert "the session token has expired: renew the credentials" in str(error)
    assert f"kept in {outage.kept()[0].parents[3]}" in str(error)
    second = outage.jobs.run(outage.jobs.config())
    assert (second.computed, second.committed) == (0, True)


def test_spool_that_can_not_be_written_is_named_with_the_reason(outage: Outage) -> None:
    outage.spool.write_text("a file")
    error = outage.lost()
    assert isinstance(error, StoreUnreachableError)
    assert f"nor can it be kept in {outage.spool}/" in str(error) and "set GRIDLINE_SPOOL" in str(error)


def test_spool_has_a_bound(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.trials.spool.MAX_BYTES", 10)
    error = outage.lost()
    assert "it has more than 0.0 MB" in str(error) and outage.kept() == []


def test_spool_keeps_the_newest_checkpoint_of_each_name(tmp_path: Path) -> None:
    spool = Spool(open_ledger(str(tmp_path / "store")), tmp_path / "spool" / "key")
    why = StoreUnreachableError("s3://models", "refused")
    for number in (1, 2, 3):
        spool.keep("run", f"checkpoints/fit/{number:08d}", str(number).encode(), why)
    spool.keep("run", "checkpoints/other/00000001", b"other", why)
    assert spool.store() == ["run"]
    assert spool.ledger.run("run").names() == ["checkpoints/fit/00000003", "checkpoints/other/00000001"]
    assert not spool.folder.exists()
    assert spool.store() == []


def test_parts_of_groups_are_kept_as_trials_are(outage: Outage, tmp_path: Path) -> None:
    pq.write_table(random_groups(30), tmp_path / "sites.parquet")
    config = job_of(str(tmp_path / "sites.parquet"), epochs=20)

    def run(ledger: Ledger) -> tuple[int, bool]:
        outcome = run_job(config, tmp_path, ledger, progress=Progress(quiet=True))
        return outcome.computed, outcome.committed

    outage.begins_before = 3  # a survey and a scan come first
    with pytest.raises(StoreUnreachableError, match="kept in"):
        run(outage.jobs.ledger)
    outage.over()
    assert run(outage.jobs.ledger) == (0, True)
    ledger = open_ledger(str(tmp_path / "undisturbed"))
    run(ledger)
    blobs = [
        [row["checkpoint"] for row in each.version(config.name).table().to_pylist()]
        for each in (ledger, outage.jobs.ledger)
    ]
    assert blobs[0] == blobs[1]
    assert outage.kept() == []


@pytest.mark.s3
def test_restart_of_a_gateway_fails_nothing(
    ceph_server: S3Server,
    inline_cluster: InlineCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = ceph_server.gateway
    assert gateway is not None
    began, is_away = threading.Event(), threading.Event()
    monkeypatch.setenv("GRIDLINE_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(retry, "_say", lambda message, now: is_away.set())
    settings = replace(ceph_server.settings, retry=RetryPolicy())  # the default: a minute
    jobs = Jobs(tmp_path / "data", NUM_DATASETS, Place(f"s3://{ceph_server.new_bucket()}/p", settings))

    def before(number: int) -> None:
        began.set()
        assert gateway_is_killed.wait(30)

    gateway_is_killed = threading.Event()
    inline_cluster.before = before
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(jobs.run, jobs.config())
        assert began.wait(60)
        gateway.kill_gateway()
        gateway_is_killed.set()
        assert is_away.wait(60)  # the job has tried again for some seconds
        gateway.start_gateway()
        outcome = running.result(120)
    inline_cluster.before = lambda number: None
    assert (outcome.exit_code, outcome.committed, outcome.computed) == (0, True, 2 * NUM_DATASETS)
    assert jobs.checkpoints() == undisturbed(tmp_path)
    assert not (tmp_path / "spool").exists()
