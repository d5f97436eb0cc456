"""Watch a server of models from its start to its end: the status port, and the self check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from handler.hosting.metrics import Metrics
from model_store.archives.archive import Archive
from model_store.deployment.control import Control
from model_store.serving.host import Host, Start
from model_store.serving.settings import ServerSettings, url
from model_store.status.example_probe import ExampleProbe
from model_store.status.pages import State, Status
from model_store.status.port import StatusPort
from model_store.status.restarting import HostCures, RestartingHost
from model_store.status.self_check import Schedule, SelfCheck
from model_store.torchserve.inference import Inference
from model_store.torchserve.management import Management

PAGE_TIMEOUT_S = 2.0  # of each question that a page asks
CHECK_TIMEOUT_S = 5.0
CURE_TIMEOUT_S = 60.0


@dataclass
class Watch:
    """The status port of a server that starts, and what is needed to check it when it is ready."""

    url: str
    settings: ServerSettings
    state: State
    status: Status
    metrics: Metrics

    def restarting(self, start: Start[Host]) -> Start[RestartingHost]:
        """Return a way to start a host so that it can be started again."""

        def start_restarting(settings: ServerSettings, archive: Archive, keep: Sequence[int]) -> RestartingHost:
            return RestartingHost(start, settings, archive, keep, self.state)

        return start_restarting

    @contextmanager
    def checking(self, host: RestartingHost, schedule: Schedule | None = None) -> Iterator[None]:
        """Say that the host is ready, and cure it when it does not answer, until the block ends."""
        settings, control = self.settings, Control(self.settings.control)
        with (
            probing(settings, CHECK_TIMEOUT_S) as probe,
            Management(settings.management_url, settings.key_file, settings.model_store, CURE_TIMEOUT_S) as server,
            self._check(HostCures(host, server, control, server.load), probe, schedule or Schedule()),
        ):
            self.state.doing = None
            yield

    def _check(self, cures: HostCures, probe: ExampleProbe, schedule: Schedule) -> SelfCheck:
        return SelfCheck(cures, probe, self.status.reports, self.metrics, schedule)


@contextmanager
def watched(settings: ServerSettings, host: str, port: int, front_end: Callable[[], str]) -> Iterator[Watch]:
    """Serve the status of a server at this address until the block ends. Raises ServerError if that can't be had.

    `front_end` returns metrics of the server's own.
    """
    with ExitStack() as stack:
        state, metrics = State(), Metrics()
        probe = stack.enter_context(probing(settings, PAGE_TIMEOUT_S))
        status = Status(settings.control, state, probe, metrics, front_end)
        status.reports.forget()
        served = stack.enter_context(StatusPort(host, port, status.pages()))
        yield Watch(url(host, served.port), settings, state, status, metrics)


@contextmanager
def probing(settings: ServerSettings, timeout_s: float) -> Iterator[ExampleProbe]:
    """Give a probe of a server, whose questions take at most `timeout_s` each."""
    with (
        Management(settings.management_url, settings.key_file, timeout_s=timeout_s) as management,
        Inference(settings.inference_url, settings.key_file, timeout_s) as inference,
    ):
        yield ExampleProbe(management, inference)
