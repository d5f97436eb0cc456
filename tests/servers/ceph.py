"""Ceph's S3 gateway on this machine: one monitor, one object storage daemon on a sparse file, one gateway.

Needs Debian's `radosgw ceph-mon ceph-osd`; runs without systemd and without root, and leaves nothing behind.
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

PROGRAMS = ("radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "monmaptool", "ceph-authtool", "setpriv")
INSTALL = "apt-get install -y --no-install-recommends radosgw ceph-mon ceph-osd"
START_S = 60.0
CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port},v1:127.0.0.1:{mon_v1_port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}/run
admin socket =
log file = {folder}/$name.log
log to stderr = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail warn = 2
mon data avail crit = 1
mon max pg per osd = 1000
paxos propose interval = 0.05
paxos min wait = 0.01
mon client hunt interval = 0.3
[mon]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = 4294967296
bluestore block create = true
osd memory target = 939524096
bluestore cache autotune = false
bluestore cache size = 134217728
ms bind port min = {osd_port_min}
ms bind port max = {osd_port_max}
[client.rgw]
ms mon client mode = crc
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw enable usage log = false
rgw enable ops log = false
"""


def missing_programs() -> list[str]:
    """Return the programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class CephGateway:
    """A gateway with its own storage below `folder`, on free ports of the loopback address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "ceph.conf"
        self._port = _free_ports(20)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self, access_key_id: str, secret_access_key: str) -> None:
        """Make the storage and its first user, and return when the gateway answers."""
        self._write_config()
        self._make_monitor()
        self._make_storage()
        self.add_user("owner", access_key_id, secret_access_key)
        self.start_gateway()

    def add_user(self, name: str, access_key_id: str, secret_access_key: str) -> None:
        """Add a user, who has no right to the buckets of others."""
        keys = ("--access-key", access_key_id, "--secret-key", secret_access_key)
        self._run("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", name, "--display-name", name, *keys)

    def start_gateway(self) -> None:
        """Start the gateway and return when its port is open."""
        self._spawn("radosgw", "-n", "client.rgw")
        self._wait_for_port("radosgw", self._port)

    def kill_gateway(self) -> None:
        """End the gateway by SIGKILL, as a crash does."""
        self._end("radosgw", signal.SIGKILL)

    def stop(self) -> None:
        """End every process."""
        for name in ("radosgw", "ceph-osd", "ceph-mon"):
            self._end(name, signal.SIGTERM)

    def _write_config(self) -> None:
        for name in ("mon", "osd", "run"):
            (self._folder / name).mkdir(parents=True)
        port = self._port
        fields = {"fsid": uuid.uuid4(), "folder": self._folder, "port": port, "mon_port": port + 1}
        ranges = {"mon_v1_port": port + 2, "osd_port_min": port + 10, "osd_port_max": port + 19}
        self._config.write_text(CONFIG.format(**fields, **ranges))

    def _make_monitor(self) -> None:
        fsid = self._config.read_text().split("fsid = ")[1].split()[0]
        monmap, keyring = str(self._folder / "monmap"), str(self._folder / "keyring")
        address = f"[v2:127.0.0.1:{self._port + 1},v1:127.0.0.1:{self._port + 2}]"
        _run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, monmap)
        _run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._spawn("ceph-mon", "-i", "a")
        self._wait_for_port("ceph-mon", self._port + 1)

    def _make_storage(self) -> None:
        osd = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", "-i", "0")
        log = self._folder / "osd.0.log"
        self._wait("ceph-osd", lambda: log.exists() and "booting -> active" in log.read_text(errors="replace"))

    def _run(self, program: str, *arguments: str) -> None:
        _run(program, "-c", str(self._config), *arguments)

    def _spawn(self, program: str, *arguments: str) -> None:
        command = ["setpriv", "--pdeathsig", "KILL", program, "-c", str(self._config), *arguments, "-f"]
        with (self._folder / f"{program}.out").open("ab") as output:
            self._processes[program] = subprocess.Popen(command, stdout=output, stderr=output)

    def _end(self, program: str, how: signal.Signals) -> None:
        if process := self._processes.pop(program, None):
            process.send_signal(how)
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait_for_port(self, program: str, port: int) -> None:
        self._wait(program, lambda: _is_open(port))

    def _wait(self, program: str, condition: object) -> None:
        deadline = time.monotonic() + START_S
        while not condition():  # type: ignore[operator]
            ended = self._processes[program].poll() is not None
            if ended or time.monotonic() > deadline:
                output = (self._folder / f"{program}.out").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{program} did not start: {output}")
            time.sleep(0.02)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, timeout=START_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> int:
    """Return the first of `count` ports in a row that nothing listens on."""
    while True:
        first = random.randrange(10_000, 30_000)  # below those that the kernel gives to clients
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
