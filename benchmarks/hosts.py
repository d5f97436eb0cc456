"""The hosts of an archive against what a user would have instead: `python -m benchmarks.hosts [--quick]`.

All servers of a comparison run at once and are asked in turn; a ratio is the median over the rounds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.contenders import (
    ONE_ROW,
    ONE_ROW_OF_MANY,
    ROUND_S,
    ROUNDS,
    WARM_UP_S,
    Contender,
    Line,
    in_turn,
    median_rate,
    p99_s,
    ratio,
    requests_per_s,
)
from benchmarks.http_load import Rate
from benchmarks.sample_fleets import sample_archive
from benchmarks.torchserve_peers import PEERS, Subject, inference_key, peer_archive, served
from benchmarks.worst_bodies import WORST_BODIES, WorstBody
from handler.rows.model_card import Feature
from model_store.archives.archive import Archive
from model_store.asgi import process as uvicorn
from model_store.serving.ports import free_ports, with_free
from model_store.serving.running import reserved, serving
from model_store.serving.settings import Ports, ServerSettings
from model_store.torchserve.client import read_key

START_S = 120.0
WORST_PER_S = 20
ONE_ROW_OF_NORTH = '{"dataset": "north", "instances": [[3, 1]]}'
UVICORN = ("-m", "uvicorn", "--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning")


@dataclass(frozen=True)
class Scale:
    """How long is measured, and over how many datasets."""

    rounds: int = ROUNDS
    round_s: float = ROUND_S
    warm_up_s: float = WARM_UP_S
    many: int = 10_000

    def rates(self, contenders: list[Contender]) -> Mapping[str, list[Rate]]:
        return in_turn(contenders, self.rounds, self.round_s, self.warm_up_s)


FULL, QUICK = Scale(), Scale(1, 1.0, 1.0, 200)


@contextmanager
def hosted(archive: Archive) -> Iterator[tuple[str, str]]:
    """Serve an archive with uvicorn until the block ends; yield its address and the inference key."""
    with tempfile.TemporaryDirectory(prefix="gridline-bench-") as folder:
        settings = ServerSettings(Path(folder).resolve(), ports=with_free(Ports(0, 0, 0)))
        with reserved(settings) as lock, serving(uvicorn.start, archive, settings, lock):
            url = f"{settings.inference_url}/predictions/{archive.collection}"
            yield url, read_key(settings.key_file, "inference")


@contextmanager
def running(*arguments: str, port: int) -> Iterator[str]:
    """Run Python with arguments until the block ends; yield the address once something listens at the port."""
    process = subprocess.Popen([sys.executable, *arguments], cwd=PEERS, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(port):
            assert process.poll() is None, f"{arguments} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{arguments} did not listen in time"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/predictions/fleet"
    finally:
        process.terminate()
        process.wait(START_S)


def _answers(port: int) -> bool:
    """Return whether a server answers at this port with anything but that it has no such address."""
    try:
        return httpx.post(f"http://127.0.0.1:{port}/predictions/fleet", json={}, timeout=1.0).status_code != 404
    except httpx.HTTPError:
        return False


@contextmanager
def peer(application: str) -> Iterator[str]:
    """Serve an ASGI application of the peers with one worker of uvicorn."""
    [port] = free_ports(1)
    with running(*UVICORN, "--port", str(port), f"{application}:app", port=port) as url:
        yield url


@contextmanager
def multiplexed(num_models: int) -> Iterator[str]:
    """Serve this many models with Ray Serve's multiplexing."""
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="gridline-bench-") as folder:
        arguments = (str(PEERS / "ray_multiplexed.py"), str(port), folder, str(num_models))
        with running(*arguments, port=port) as url:
            yield url


def compare_hosts(folder: Path, scale: Scale = FULL) -> list[Line]:
    """Return one row on each host against a constant there, and against FastAPI with NumPy."""
    archive = sample_archive(1, folder)
    nothing = Subject("constant", peer_archive(folder, "constant", "constant_handler.py", {}), "constant")
    with ExitStack() as stack:
        torchserve = stack.enter_context(served(Subject("ours", archive.path, "fleet")))
        torchserve_constant = stack.enter_context(served(nothing))
        url, key = stack.enter_context(hosted(archive))
        address = torchserve.settings.inference_url
        constant_address = torchserve_constant.settings.inference_url
        rates = scale.rates(
            [
                Contender("torchserve", f"{address}/predictions/fleet", ONE_ROW, inference_key(torchserve)),
                Contender(
                    "torchserve constant",
                    f"{constant_address}/predictions/constant",
                    ONE_ROW,
                    inference_key(torchserve_constant),
                ),
                Contender("uvicorn", url, ONE_ROW, key),
                Contender("uvicorn constant", stack.enter_context(peer("constant_asgi")), ONE_ROW),
                Contender("fastapi", stack.enter_context(peer("fastapi_numpy")), ONE_ROW),
            ]
        )
    seen = {label: f"{median_rate(rates, label):.0f} requests/s" for label in rates}
    constant = "a handler that returns a constant"
    return [
        Line("one row, TorchServe", constant, ratio(rates, "torchserve", "torchserve constant", requests_per_s), 0.9,
             note=seen["torchserve"]),
        Line("one row, uvicorn", constant, ratio(rates, "uvicorn", "uvicorn constant", requests_per_s),
             note=f"{seen['uvicorn']}, and {seen['uvicorn constant']}"),
        Line("one row, uvicorn", "FastAPI and NumPy", ratio(rates, "uvicorn", "fastapi", requests_per_s), 1.0,
             note=seen["fastapi"]),
    ]  # fmt: skip


def compare_multiplexed(folder: Path, scale: Scale = FULL) -> list[Line]:
    """Return a collection of many datasets on each host against Ray Serve with a model for each."""
    many = scale.many
    archive = sample_archive(many, folder)
    with ExitStack() as stack:
        torchserve = stack.enter_context(served(Subject("ours", archive.path, "fleet")))
        url, key = stack.enter_context(hosted(archive))
        theirs = stack.enter_context(multiplexed(many))
        address = torchserve.settings.inference_url
        named = ("serve_multiplexed_model_id",)
        contenders = [
            Contender("torchserve", f"{address}/predictions/fleet", ONE_ROW_OF_MANY, inference_key(torchserve), many),
            Contender("uvicorn", url, ONE_ROW_OF_MANY, key, many),
            Contender("multiplexed", theirs, ONE_ROW, num_datasets=many, named=named),
        ]
        rates = scale.rates(contenders)
    reference = f"Ray Serve, multiplexed over {many:,} nn.Linear"
    lines = []
    for host in ("torchserve", "uvicorn"):
        note = f"{median_rate(rates, host):.0f} and {median_rate(rates, 'multiplexed'):.0f} requests/s"
        work = f"{many:,} datasets, {host}"
        lines.append(Line(work, reference, ratio(rates, host, "multiplexed", requests_per_s), 5.0, note=note))
        lines.append(Line(f"{work}, p99", reference, ratio(rates, host, "multiplexed", p99_s), at_most=0.2))
    return lines


@contextmanager
def worst_sent(url: str, key: str, bodies: Sequence[tuple[WorstBody, bytes]]) -> Iterator[list[int]]:
    """Send bodies, each from a connection of its own, at WORST_PER_S until the block ends; yield the statuses."""
    ended, statuses = threading.Event(), list[int]()

    def send(number: int) -> None:
        one, body = bodies[number % len(bodies)]
        headers = {"Authorization": f"Bearer {key}", "Content-Type": one.content_type, **one.headers}
        try:
            statuses.append(httpx.post(url, content=body, headers=headers, timeout=START_S).status_code)
        except httpx.HTTPError:
            statuses.append(0)  # the server closed the connection before the body had ended

    def send_all() -> None:
        threads, started = list[threading.Thread](), time.monotonic()
        while not ended.wait(max(0.0, started + len(threads) / WORST_PER_S - time.monotonic())):
            threads.append(threading.Thread(target=send, args=(len(threads),), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    sender = threading.Thread(target=send_all)
    sender.start()
    try:
        yield statuses
    finally:
        ended.set()
        sender.join()


def compare_worst_bodies(folder: Path, scale: Scale = FULL) -> list[Line]:
    """Return the p99 of one-row requests beside a client that sends the worst bodies, against the p99 without it."""
    features = (Feature("area"), Feature("depth", missing="mean"))
    archive = sample_archive(3, folder, features, ("bare", "north", "south"))
    bodies = [(one, one.body()) for one in WORST_BODIES]
    lines = []
    with ExitStack() as stack:
        torchserve = stack.enter_context(served(Subject("ours", archive.path, "fleet")))
        url, key = stack.enter_context(hosted(archive))
        address = f"{torchserve.settings.inference_url}/predictions/fleet"
        contenders = [
            Contender("TorchServe", address, ONE_ROW_OF_NORTH, inference_key(torchserve)),
            Contender("uvicorn", url, ONE_ROW_OF_NORTH, key),
        ]
        for one in contenders:
            one.measure(scale.warm_up_s)
            ratios, sent, alone_s = [], list[int](), list[float]()
            for _ in range(scale.rounds):
                alone_s.append(one.measure(scale.round_s).p99_s)
                with worst_sent(one.url, one.key, bodies) as statuses:
                    ratios.append(one.measure(scale.round_s).p99_s / alone_s[-1])
                sent += statuses
            answered = ", ".join(f"{count} with {status}" for status, count in sorted(Counter(sent).items()))
            note = f"p99 alone {statistics.median(alone_s) * 1e3:.2f} ms; bodies: {answered}"
            work = f"p99 of one row beside the worst bodies, {one.label}"
            lines.append(Line(work, "alone", statistics.median(ratios), at_most=3.0, note=note))
    return lines


COMPARISONS = (compare_hosts, compare_multiplexed, compare_worst_bodies)


def main() -> None:
    """Print the report as a table in Markdown."""
    scale = QUICK if "--quick" in sys.argv[1:] else FULL
    with tempfile.TemporaryDirectory(prefix="gridline-bench-") as folder:
        print("| work | reference | value | has to be | met | note |\n|---|---|---|---|---|---|")
        for compare in COMPARISONS:
            for line in compare(Path(folder), scale):
                print(line, flush=True)


if __name__ == "__main__":
    main()
