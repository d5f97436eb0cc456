"""The reverse proxy of infra/proxy/nginx.conf before one or two servers, on a free port.

Needs Debian's `nginx-light`; runs without root, in a folder of its own, and leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model_store.serving.listening import is_listening
from model_store.serving.ports import free_ports
from model_store.serving.settings import ServerSettings
from model_store.torchserve.client import read_key
from tests.servers.torchserve import until

CONFIGURATION = Path(__file__).parents[2] / "infra" / "proxy" / "nginx.conf"
INSTALL = "apt-get install -y --no-install-recommends nginx-light"
ADDRESSES = ("127.0.0.1:8080", "127.0.0.1:9080")
KEY_FILES = ("first-key.conf", "second-key.conf")


def is_missing() -> bool:
    return shutil.which("nginx") is None


@contextmanager
def proxy(servers: Sequence[ServerSettings], folder: Path) -> Iterator[str]:
    """Run the proxy before these servers (one is taken twice) until the block ends; yield its address."""
    folder.mkdir(mode=0o700)
    first, second = servers[0], servers[-1]
    text = CONFIGURATION.read_text()
    [port] = free_ports(1)
    for written, used in [
        ("127.0.0.1:8000", f"127.0.0.1:{port}"),
        *zip(ADDRESSES, map(_address, (first, second)), strict=True),
    ]:
        assert written in text
        text = text.replace(written, used)
    (folder / "nginx.conf").write_text(text)
    for name, server in zip(KEY_FILES, (first, second), strict=True):
        key = read_key(server.key_file, "inference")
        (folder / name).write_text(f'proxy_set_header Authorization "Bearer {key}";\n')
    user = "daemon off; user root;" if os.geteuid() == 0 else "daemon off;"  # its workers may enter the folder
    command = ["nginx", "-p", ".", "-c", "nginx.conf", "-g", user]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        until(lambda: is_listening(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _address(server: ServerSettings) -> str:
    return f"127.0.0.1:{server.ports.inference}"
