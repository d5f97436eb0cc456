"""What a GET asks for: the collection, a page of its datasets, a dataset, or the OpenAPI document."""

from __future__ import annotations

from typing import Any

from ..errors import PayloadError
from ..models.fleet import Fleet
from ..requests.forms import texts_of
from ..requests.options import ELSEWHERE
from ..requests.payload import Request
from ..wording import shown
from .description import describe, describe_dataset, list_datasets
from .listing import Asked
from .openapi import OPENAPI, openapi

PAGING = frozenset({"limit", "after", "prefix", "contains"})
PARAMETERS = PAGING | {"dataset", "openapi"}

Json = dict[str, Any]


def described(fleet: Fleet, request: Request) -> Json:
    """Return the document that a GET asks for. Raises PayloadError and NotServedError."""
    given = _parameters(request)
    if request.dataset == OPENAPI or "openapi" in given:
        _refuse_beside(given, {"openapi"}, "the OpenAPI document has no parameters")
        return openapi(fleet)
    if request.dataset is not None and given.get("dataset", request.dataset) != request.dataset:
        raise PayloadError(f"the address names dataset {shown(request.dataset)}, and a parameter another: give one")
    dataset = request.dataset or given.get("dataset")
    if dataset is not None:
        _refuse_beside(given, {"dataset"}, "the address names a dataset, which has no pages")
        return describe_dataset(fleet, dataset)
    return list_datasets(fleet, Asked.of(given)) if given else describe(fleet)


def _parameters(request: Request) -> dict[str, str]:
    """Return the parameters of the address; TorchServe gives them as a form. Raises PayloadError for others."""
    given = {**request.parameters, **texts_of(request.form or {})}
    if request.form is not None and not given.get("body", "text"):
        del given["body"]
    unknown = [name for name in given if name not in PARAMETERS | ELSEWHERE]
    if unknown:
        raise PayloadError(f"parameter {shown(unknown[0])} is not known: those of a GET are {sorted(PARAMETERS)}")
    return {name: text for name, text in given.items() if name not in ELSEWHERE}


def _refuse_beside(given: dict[str, str], allowed: set[str], why: str) -> None:
    for name in given:
        if name not in allowed:
            raise PayloadError(f"{why}: leave {name!r} out")
