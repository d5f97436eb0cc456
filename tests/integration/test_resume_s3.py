"""Jobs over S3: how many requests they take, and a connection that fails at every third."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.samples.jobs import Jobs
from tests.servers.fault_proxy import FaultProxy, Faults, at_random, no_faults
from tests.servers.inline_cluster import InlineCluster
from tests.servers.stores import Place

Proxied = Callable[[Faults], tuple[Place, FaultProxy]]


def test_second_run_takes_at_most_20_requests(proxied: Proxied, inline_cluster: InlineCluster, tmp_path: Path) -> None:
    place, proxy = proxied(no_faults)
    jobs = Jobs(tmp_path, 20, place)
    jobs.run(jobs.config())
    before = len(proxy.requests)

    second = jobs.run(jobs.config())

    assert (second.computed, second.reused, second.committed) == (0, 40, False)
    assert len(proxy.requests) - before <= 20
    print(f"{len(proxy.requests) - before} requests of a run that has nothing to do")


def test_job_over_a_failing_connection_completes(
    proxied: Proxied, inline_cluster: InlineCluster, tmp_path: Path
) -> None:
    counts = []
    for share in (0.0, 0.3):
        place, proxy = proxied(at_random(share, seed=5))
        jobs = Jobs(tmp_path, 50, place)
        outcome = jobs.run(jobs.config())
        assert (outcome.exit_code, outcome.committed, outcome.computed) == (0, True, 100)
        counts.append(len(proxy.requests))
    assert counts[1] <= 2 * counts[0]
    print(f"{counts[0]} requests without faults, {counts[1]} with 30%")
