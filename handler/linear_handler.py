"""The TorchServe service of an archive: it turns TorchServe's data into requests, and answers into responses.

TorchServe requires exactly one class in this module, and calls its `initialize` and `handle`. It is archived upstream;
the comments name the properties of TorchServe that this code works around.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch

from .answers.answering import OK
from .hosting.control import Control, control_folder
from .hosting.endpoint import Endpoint
from .hosting.rollout_watch import RolloutWatch
from .hosting.torchserve_metrics import TorchServeMetrics
from .hosting.worker_report import WorkerReport, every_second
from .hosting.worker_socket import buffered_reader
from .models import fleet_files
from .requests.forms import is_form
from .requests.payload import Field, Request

QUIET = "GRIDLINE_WORKER_LOG_LEVEL"
SEQUENCE = "ts_request_sequence_"  # begins the headers that TorchServe itself gives to a stream of requests
END_OF_STREAM = ("ts_stream_next", "false")  # without it StreamPredictions ends TorchServe's thread of the worker
MODEL_FOLDER = "model"
TORCHSERVE = "0.12.0"  # the last release: upstream is archived


class LinearHandler:
    """Serve a fleet. It does not inherit BaseHandler, which takes 0.1 s and loads a model class with pickle."""

    def __init__(self) -> None:
        self.endpoint: Endpoint | None = None

    def initialize(self, context: Any) -> None:
        """Open the archive that TorchServe has unpacked; all workers memory-map the same files of weights."""
        torch.set_num_threads(1)
        logging.getLogger().setLevel(os.environ.get(QUIET, "INFO"))  # INFO prints two lines for each request
        fleet = fleet_files.read(Path(context.system_properties["model_dir"]) / MODEL_FOLDER)
        self.endpoint = Endpoint(fleet, Control(control_folder()))
        _tell_metrics(self.endpoint, context.model_name)
        _read_through_buffer()
        gc.freeze()  # what is loaded stays: the collector need not look at it again and again

    def handle(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Return one body for each request, in their order, and set the status of each.

        A status other than 200 is set for each request: an exception would fail the whole batch.
        """
        assert self.endpoint is not None  # noqa: S101 - TorchServe initialises first
        received = [_request(row, context.get_all_request_header(index)) for index, row in enumerate(data)]
        with self.endpoint.control:
            answers = self.endpoint.respond(received)
        for index, one in enumerate(answers):
            context.set_response_content_type(index, one.content_type)
            if _is_grpc(context.get_all_request_header(index)):
                context.set_response_header(index, *END_OF_STREAM)
            for name, value in one.headers.items():
                context.set_response_header(index, name, value)
            if one.status != OK:
                context.set_response_status(one.status, HTTPStatus(one.status).phrase, index)
        return [one.body for one in answers]


def _tell_metrics(endpoint: Endpoint, model_name: str) -> None:
    """Tell the metrics once a second: to TorchServe, and to `gridline serve` if that has started it."""
    tell = [TorchServeMetrics(endpoint.metrics, model_name).flush]
    control = control_folder()
    if control is not None:
        RolloutWatch(endpoint, control).start()
    every_second(tell if control is None else [*tell, WorkerReport(lambda: [endpoint], control).write])


def _read_through_buffer() -> None:
    """In the supported release of TorchServe, replace its reader of the socket by one with a buffer."""
    release, protocol = sys.modules.get("ts"), sys.modules.get("ts.protocol.otf_message_handler")
    if protocol is not None and getattr(release, "__version__", None) == TORCHSERVE:
        vars(protocol)["_retrieve_buffer"] = buffered_reader()


def _request(row: Mapping[str, Any], described: Mapping[str, Any]) -> Request:
    """Return the request: its body, or the fields of a form, of gRPC, and of the query of the address.

    `described` has the caller's headers, and TorchServe's own: a description of each field, and of the address.
    """
    headers = {name.lower(): value for name, value in described.items() if isinstance(value, str)}
    path = described.get("url_path")  # the dataset of /predictions/<collection>/<version>/<dataset>
    content_type = headers.get("content-type", "").lower()
    has_fields = is_form(content_type) or len(row) != 1 or "body" not in row
    return Request(
        row.get("body", b""),
        content_type if has_fields else _type_of("body", described),
        path if isinstance(path, str) and path else None,
        explain=described.get("explain") == "True",
        method="GET" if _asks_for_description(row, described) else "POST",
        headers=headers,
        form={name: Field(value, _type_of(name, described)) for name, value in row.items()} if has_fields else None,
        names_version=bool(path),
    )


def _type_of(name: str, described: Mapping[str, Any]) -> str:
    """Return the type of a field, as TorchServe describes it."""
    field = described.get(name)
    return str(field.get("content-type", "")).lower() if isinstance(field, dict) else ""


def _is_grpc(described: Mapping[str, Any]) -> bool:
    """Return whether a request came over gRPC: then no header is the caller's. Over HTTP there is a `content-length`.

    TorchServe does not say it; a gRPC caller names the parameters, which are described by objects.
    """
    return all(not isinstance(value, str) or name.startswith(SEQUENCE) for name, value in described.items())


def _asks_for_description(row: Mapping[str, Any], headers: Mapping[str, Any]) -> bool:
    """Return whether this is a GET of the model, on the management port (`customized=true`) or the inference port.

    TorchServe does not give the method to handlers, but only a GET has neither a body nor a content type.
    """
    if not row:
        return headers.get("describe") == "True"
    body = row.get("body")
    if body or not isinstance(body, (bytes, bytearray, str)):
        return False
    return all(name.lower() != "content-type" for name in headers)
