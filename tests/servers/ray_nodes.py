"""Ray nodes as separate processes on this machine: a cluster that can grow, and whose nodes can be killed."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

TOKEN = "RAY_AUTH_TOKEN"


@dataclass
class RayNodes:
    """A head with `num_cpus` CPUs, and the nodes that a test adds; a driver of this machine joins at the head."""

    cluster: Any
    nodes: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, num_cpus: int = 1, **options: Any) -> Any:
        """Start a node and wait until it has joined."""
        node = self.cluster.add_node(num_cpus=num_cpus, include_dashboard=False, **options)
        self.nodes.append(node)
        return node

    def kill(self, node: Any) -> None:
        """Kill all processes of a node with SIGKILL, and wait until the cluster has noticed."""
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)
        self.cluster.wait_for_nodes(timeout=60)

    def kill_all(self) -> None:
        """Kill the nodes that were added."""
        for node in list(self.nodes):
            self.kill(node)


@pytest.fixture(scope="session")
def ray_token() -> Iterator[str]:
    """A token in the environment: nothing is read from the home of whoever runs the tests, or written to it."""
    before = os.environ.get(TOKEN)
    token = os.environ[TOKEN] = before or secrets.token_hex(32)
    yield token
    if before is None:
        del os.environ[TOKEN]


@pytest.fixture(scope="session")
def raylets(ray_token: str) -> Iterator[RayNodes]:
    """One cluster for all tests; tests that use it carry the marker ray."""
    from ray.cluster_utils import Cluster

    # A dead node is noticed in 1 s; Ray's own 15 s would be most of what these tests take.
    quick = {"health_check_period_ms": 300, "health_check_failure_threshold": 3, "health_check_timeout_ms": 10_000}
    head = {"num_cpus": 1, "include_dashboard": False, "dashboard_port": _free_port(), "_system_config": quick}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield RayNodes(cluster)
    cluster.shutdown()


def _free_port() -> int:
    """Return a port for the dashboard, whose default may be that of somebody else's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def ray_nodes(raylets: RayNodes) -> Iterator[RayNodes]:
    """The cluster, with its head alone: what a test adds is killed at its end."""
    yield raylets
    raylets.kill_all()
