"""Split a request into pieces: the instances that the same stack answers, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import PayloadError
from ..models.fleet import Fleet, Place
from ..requests.columns import Columns, columns_of
from ..requests.instances import DATASET, Instances, known
from ..requests.payload import Query
from ..wording import kind
from .scoring import Models


@dataclass(frozen=True)
class Piece:
    """Instances of one request that one stack answers, with their positions; `models` is one for each, or one.

    `ignored` are names that are no features, where the request says to ignore them.
    """

    request: int
    stack: int
    positions: Sequence[int]
    models: Models
    columns: Columns
    datasets: Sequence[str]
    ignored: Sequence[str] = ()


def pieces_of(fleet: Fleet, query: Query, request: int) -> list[Piece]:
    """Return the pieces of a request; each instance is in exactly one.

    Raises NotServedError and PayloadError.
    """
    names = _names(fleet, query)
    num_rows = len(query.instances)
    if isinstance(names, str):
        place = fleet.place(fleet.position(names))
        everywhere = range(num_rows)
        columns, ignored = _columns(fleet, query, query.instances, place, everywhere)
        return [Piece(request, place.stack, everywhere, place.row, columns, (names,) * num_rows, ignored)]
    places = _places(fleet, names)
    pieces = []
    for stack in sorted({place.stack for place in places}):
        positions = [position for position, place in enumerate(places) if place.stack == stack]
        whole = len(positions) == num_rows
        instances = query.instances if whole else query.instances.take(positions)
        columns, ignored = _columns(fleet, query, instances, places[positions[0]], positions)
        models = np.array([places[position].row for position in positions], np.intp)
        pieces.append(Piece(request, stack, positions, models, columns, [names[at] for at in positions], ignored))
    return pieces


def _columns(
    fleet: Fleet, query: Query, instances: Instances, place: Place, positions: Sequence[int]
) -> tuple[Columns, Sequence[str]]:
    """Return the columns of the features, and the names that are ignored."""
    card = fleet.stacks[place.stack].card
    ignored: Sequence[str] = ()
    if query.extra == "ignore":
        instances, ignored = known(instances, card)
    skip_dataset = query.dataset is None and not (fleet.num_datasets == 1 and DATASET in card.feature_names)
    return columns_of(instances, card, positions, skip_dataset), ignored


def _places(fleet: Fleet, names: Sequence[str]) -> list[Place]:
    """Return the place of each dataset; each distinct name is looked up once."""
    places: dict[str, Place] = {}
    for position, name in enumerate(names):
        if name not in places:
            places[name] = fleet.place(fleet.position(name, f"instance {position}: "))
    return [places[name] for name in names]


def _names(fleet: Fleet, query: Query) -> str | Sequence[str]:
    """Return one dataset for all instances, or one for each. Raises PayloadError if an instance names none."""
    if query.dataset is not None:
        return query.dataset
    if fleet.num_datasets == 1 and DATASET in fleet.stacks[0].card.feature_names:
        return fleet.only()
    said = query.instances.datasets()
    if said is None:
        return fleet.only()
    return [_name(value, position) for position, value in enumerate(said)]


def _name(value: object, position: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise PayloadError(f"instance {position}: 'dataset' is {kind(value)}: give the name of a dataset for each instance")
