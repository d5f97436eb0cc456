from __future__ import annotations

import socket

import pytest

from model_store.torchserve.front_end_metrics import front_end_metrics, without_workers

TEXT = """\
# HELP GridlineRows Torchserve prometheus counter metric with unit: Count
# TYPE GridlineRows counter
GridlineRows{ModelName="stores",Level="Model",} 3.0
# HELP WorkerLoadTime Torchserve prometheus gauge metric with unit: Milliseconds
# TYPE WorkerLoadTime gauge
WorkerLoadTime{WorkerName="W-9000-stores_1",Level="Host",Hostname="vm",} 1040.0
WorkerLoadTime{WorkerName="W-9001-stores_1",Level="Host",Hostname="vm",} 990.0
# HELP Requests4XX Torchserve prometheus counter metric with unit: Count
# TYPE Requests4XX counter
# HELP Requests2XX Torchserve prometheus counter metric with unit: Count
# TYPE Requests2XX counter
Requests2XX{Level="Host",Hostname="vm",} 19.0
"""


def test_only_the_front_end_s_own_metrics_are_passed_on() -> None:
    assert without_workers(TEXT).splitlines() == TEXT.splitlines()[-3:]


def test_a_text_that_prometheus_can_t_read_is_refused() -> None:
    with pytest.raises(ValueError):
        without_workers(TEXT + 'Requests5XX{Level="Ho')


def test_a_front_end_that_does_not_answer_has_no_metrics() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        assert front_end_metrics(f"http://127.0.0.1:{unheard.getsockname()[1]}") == ""
