"""Fixtures for every test; those of one kind of server are in tests/servers/."""

pytest_plugins = [
    "tests.servers.stores",
    "tests.servers.inline_cluster",
    "tests.servers.torchserve",
    "tests.servers.ray_cluster",
    "tests.servers.ray_nodes",
]
