"""A run looks whether the blobs of its champions are there, and stores again what is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_store import open_ledger
from model_store.ledger.ledger import Ledger
from model_store.objects.blobs import BlobRef, lost_blobs
from tests.integration.test_group_parts import KEYS, Farm
from tests.integration.test_repetition import wait_until_settled
from tests.samples.jobs import Jobs
from tests.servers.fault_proxy import FaultProxy, Faults, no_faults
from tests.servers.inline_cluster import InlineCluster
from tests.servers.stores import Place

Proxied = Callable[[Faults], tuple[Place, FaultProxy]]
RATES = (0.02, 0.1)


@pytest.fixture
def jobs(tmp_path: Path, inline_cluster: InlineCluster) -> Jobs:
    """Return jobs of which a repetition would read nothing."""
    jobs = Jobs(tmp_path, 2)
    wait_until_settled(jobs)
    assert jobs.run(jobs.config(RATES)).committed
    return jobs


def path_of(ledger: Ledger, dataset: str, kind: str, collection: str = "fruit") -> Path:
    key = f"blobs/{ledger.version(collection).find(dataset)[kind]}.safetensors"
    path = ledger.objects.local_path(key)
    assert path is not None
    return path


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("kind", ["checkpoint", "statistics"])
@pytest.mark.parametrize("damage", [remove, truncate])
def test_same_job_again_stores_a_lost_blob_again(jobs: Jobs, kind: str, damage: Callable[[Path], None]) -> None:
    path = path_of(jobs.ledger, "b", kind)
    before = path.read_bytes()
    damage(path)
    outcome = jobs.run(jobs.config(RATES))
    assert path.read_bytes() == before and jobs.ledger.verify("fruit") == []
    assert (outcome.committed, outcome.computed, outcome.version) == (False, 0, 1)
    reasons = {document["dataset"]: document["comparison"]["reason"] for document in outcome.documents()}
    assert reasons["b"] == "it is the champion already; its blob was lost, and is stored again"
    assert reasons["a"] == "it is the champion already"
    assert jobs.run(jobs.config(RATES)).earlier


@pytest.mark.parametrize("damage", [remove, truncate])
def test_run_on_other_rows_replaces_a_champion_that_cannot_be_read(jobs: Jobs, damage: Callable[[Path], None]) -> None:
    damage(path_of(jobs.ledger, "b", "checkpoint"))
    jobs.write("b", seed=77)
    outcome = jobs.run(jobs.config(RATES))
    comparisons = {document["dataset"]: document["comparison"] for document in outcome.documents()}
    assert comparisons["b"]["basis"] == "lost" and comparisons["b"]["champion_score"] is None
    assert comparisons["b"]["reason"].startswith("the blob of the champion is lost or damaged")
    assert jobs.ledger.champion("fruit", "b").version.number == outcome.version == 2


def test_run_on_other_rows_replaces_a_champion_with_a_flipped_bit(jobs: Jobs) -> None:
    path = path_of(jobs.ledger, "b", "checkpoint")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    jobs.write("b", seed=77)
    assert jobs.run(jobs.config(RATES)).committed
    assert jobs.ledger.champion("fruit", "b").version.number == 2


def test_lost_champion_is_replaced_by_a_model_that_is_worse(jobs: Jobs) -> None:
    path_of(jobs.ledger, "b", "checkpoint").unlink()
    outcome = jobs.run(jobs.config((0.02,)))
    assert {d["dataset"]: d["status"] for d in outcome.documents()} == {"a": "kept", "b": "promoted"}


@pytest.mark.parametrize("more", [0, 1])
def test_groups_whose_shared_blob_is_lost_are_stored_again(
    tmp_path: Path, inline_cluster: InlineCluster, more: int
) -> None:
    """If a part has other groups now, its bytes are others: then the champions get a new blob in a new version."""
    farm, ledger = Farm(tmp_path), open_ledger(str(tmp_path / "store"))
    first = farm.run(farm.config(RATES))
    for info in list(ledger.objects.list("blobs/")):
        ledger.objects.delete(info.key)
    assert ledger.verify("farms")
    config = farm.config(RATES) if not more else farm.config(RATES, training={"inference_statistics": False})
    outcome = farm.run(config)
    assert open_ledger(ledger.uri).verify("farms") == [] or more
    assert (outcome.committed, outcome.fleets[0].num_promoted) == ((True, len(KEYS)) if more else (False, 0))
    assert open_ledger(ledger.uri).champion("farms", KEYS[0]).version.number == 1 + more
    assert first.version == 1


def test_existence_of_many_blobs_takes_few_requests(proxied: Proxied) -> None:
    place, proxy = proxied(no_faults)
    ledger = Ledger(place.open())
    refs = [ledger.put_blob(str(number).encode(), "json") for number in range(40)]
    before = len(proxy.requests)
    gone = BlobRef("0" * 64, 1, "json")
    cut = replace(refs[3], size_bytes=99)
    assert lost_blobs(ledger.objects, {*refs, gone, cut} - {refs[3]}) == {gone, cut}
    assert len(proxy.requests) - before <= 2
    before = len(proxy.requests)
    assert lost_blobs(ledger.objects, set(refs[:2])) == set()
    assert len(proxy.requests) - before == 2
