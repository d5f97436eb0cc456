"""gridline on this machine by the commands and settings of infra/: only folders, ports, hosts and secrets are others.

The head of Ray is that of compose; the job is submitted as the CronJob does it; the containers of the Deployment serve
and follow. A process gets the variables that its container has, and no other.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from model_store.torchserve.client import BearerKey
from tests.infra_files import INFRA, Container, compose_services, containers
from tests.servers.ray_cluster import free_ports, running_head
from tests.servers.torchserve import until

CRON_JOB = INFRA / "schedules" / "cron_job_submit.yaml"
DEPLOYMENT = INFRA / "kubernetes" / "base" / "serve.yaml"
SETTINGS = INFRA / "kubernetes" / "base" / "settings.env"
USED = (6379, 8080, 8081, 8082, 8083, 8090, 8265, 9091, 10001, 52365)
BIN = Path(sys.executable).parent
TIMEOUT_S = 150.0
# What a machine has that runs several heads at once; of the manifests it is the container.
ALONE = ("--num-cpus=2", "--min-worker-port=0", "--max-worker-port=0", f"--object-store-memory={100 * 2**20}")


@dataclass(frozen=True)
class Ended:
    """What a command came to."""

    code: int
    output: str


@dataclass
class Site:
    """`folder` stands for the root of each container; `values` are the secrets and what settings.env holds."""

    folder: Path
    values: Mapping[str, str]
    ports: Mapping[int, int] = field(default_factory=lambda: dict(zip(USED, free_ports(len(USED)), strict=True)))
    mounted: int = 0

    def placed(self, text: str) -> str:
        """Return a word of a manifest with the folders, ports and hosts of this machine."""
        places = {
            "/etc/gridline-schedules": str(INFRA / "schedules"),
            "/etc/gridline": str(self.folder / "etc"),
            "/var/lib/gridline": str(self.folder / "var"),
            "0.0.0.0": "127.0.0.1",  # noqa: S104
        }
        for usual, place in places.items():
            text = text.replace(usual, place)
        text = re.sub(r"http://[\w.-]+:(?=\d)", "http://127.0.0.1:", text)
        return re.sub(r"(?<=[:=])\d{4,5}\b", lambda port: str(self.ports.get(int(port[0]), port[0])), text)

    def environment(self, container: Container, **more: str) -> dict[str, str]:
        """Return the variables of a container, and what an image has."""
        given = dict(container.env)
        if "envFrom" in container.raw:
            given |= dict(line.split("=", 1) for line in SETTINGS.read_text().splitlines() if "=" in line)
        values = {**self.values, **more}
        found = {name: values[name] if name in values else self.placed(value) for name, value in given.items()}
        return self.of_image | found

    @property
    def of_image(self) -> dict[str, str]:
        """The variables that an image has."""
        place = str(self.folder / "var")
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HOME": place, "TMPDIR": place, "PYTHONUNBUFFERED": "1"}

    def mount(self, files: Mapping[str, bytes]) -> None:
        """Replace the files of /etc/gridline as Kubernetes replaces those of a ConfigMap: by links to a new folder."""
        self.mounted += 1
        etc = self.folder / "etc"
        new = etc / f"..{self.mounted}"
        new.mkdir(parents=True)
        for name, data in files.items():
            (new / name).write_bytes(data)
            if not (etc / name).is_symlink():
                (etc / name).symlink_to(Path("..data") / name)
        link = etc / "..new"
        link.symlink_to(new.name)
        link.rename(etc / "..data")

    @contextmanager
    def head(self) -> Iterator[Path]:
        """Run the head of compose until the block ends; yield its folder."""
        [head] = [each for each in compose_services() if each.name == "ray-head"]
        folder = self.folder / "ray"
        folder.mkdir()
        more = (
            *(f"--temp-dir={folder}", f"--ray-client-server-port={self.ports[10001]}", "--disable-usage-stats"),
            *(f"--dashboard-agent-listen-port={self.ports[52365]}", *ALONE),
        )
        words = [*(self.placed(word) for word in head.words), *more]
        with running_head(words, self.environment(head), folder, self.ports[8265]):
            yield folder

    def start(self, submission: str, **more: str) -> subprocess.Popen[str]:
        """Begin what a pod of the CronJob does, under the name of the pod."""
        [pod] = [each for each in containers() if each.path == CRON_JOB]
        environment = self.environment(pod, SUBMISSION=submission, **more)
        return self.process([self.placed(word) for word in pod.words], environment)

    def submit(self, submission: str, **more: str) -> Ended:
        """Do what a pod of the CronJob does."""
        return ended(self.start(submission, **more))

    def process(
        self, words: list[str], environment: dict[str, str], folder: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a command in a folder, or where a container starts it."""
        return subprocess.Popen(
            words,
            cwd=folder or self.folder / "var",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @contextmanager
    def served(self) -> Iterator[None]:
        """Run the two containers of the Deployment; they are ready when its probe says so."""
        pod = {each.name: each for each in containers() if each.path == DEPLOYMENT}
        with ExitStack() as stack:
            for name, more in (("serve", [f"--metrics-port={self.ports[8082]}"]), ("follower", [])):
                stack.enter_context(self._background(pod[name], more))
                if name == "serve":
                    probe = pod[name].raw["readinessProbe"]["httpGet"]["path"]
                    until(lambda probe=probe: self._says(probe), TIMEOUT_S)
            yield

    @contextmanager
    def _background(self, container: Container, more: list[str]) -> Iterator[None]:
        words = [*(self.placed(word) for word in container.words), *more]
        with (self.folder / f"{container.name}.log").open("wb") as log:
            process = subprocess.Popen(
                words, cwd=self.folder / "var", env=self.environment(container), stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)

    def _says(self, path: str) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[8083]}{path}", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def answer(self, **features: float) -> dict[str, Any]:
        """Return what the endpoint predicts for one instance."""
        key = BearerKey(self.folder / "var" / "server" / "key_file.json", "inference")
        url = f"http://127.0.0.1:{self.ports[8080]}/predictions/plants"
        answer = httpx.post(url, json={"instances": [features]}, auth=key, trust_env=False, timeout=30)
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for a command, and return what it came to."""
    output, _ = process.communicate(timeout=TIMEOUT_S)
    return Ended(process.returncode, re.sub(r"\x1b\[\d*m", "", output))


def new_token() -> str:
    """Return a token for Ray."""
    return secrets.token_hex(32)
