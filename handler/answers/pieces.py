"""Split a request into pieces: the instances that the same stack answers, as columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from ..errors import PayloadError
from ..models.fleet import Fleet, Place
from ..requests.columns import Columns, columns_of
from ..requests.instances import DATASET, Instances, known
from ..requests.limits import check_answer, check_cards, check_sizes
from ..requests.payload import Query
from ..wording import kind, shown
from .scoring import Models
from .size import row_bytes


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
        if num_rows > 1:
            _check_sizes(fleet, query, {place.stack: everywhere})
        columns, ignored = _columns(fleet, query, query.instances, place, everywhere)
        return [Piece(request, place.stack, everywhere, place.row, columns, (names,) * num_rows, ignored)]
    places = _places(fleet, names)
    positions_of: defaultdict[int, list[int]] = defaultdict(list)
    for position, place in enumerate(places):
        positions_of[place.stack].append(position)
    check_cards(len(positions_of))
    _check_sizes(fleet, query, positions_of)
    pieces = []
    for stack, positions in sorted(positions_of.items()):
        whole = len(positions) == num_rows
        instances = query.instances if whole else query.instances.take(positions)
        columns, ignored = _columns(fleet, query, instances, places[positions[0]], positions)
        models = np.array([places[position].row for position in positions], np.intp)
        pieces.append(Piece(request, stack, positions, models, columns, [names[at] for at in positions], ignored))
    return pieces


def _check_sizes(fleet: Fleet, query: Query, positions_of: Mapping[int, Sequence[int]]) -> None:
    """Raise PayloadError for too many values or encoded columns in these stacks, or an answer that is too large."""
    cards = [(len(positions), fleet.stacks[stack].card) for stack, positions in positions_of.items()]
    check_sizes(
        sum(number for number, _ in cards),
        sum(number * len(card.features) for number, card in cards),
        sum(number * card.num_columns for number, card in cards),
    )
    if query.explanations or query.interval is not None:
        check_answer(len(query.instances), sum(number * row_bytes(query, card) for number, card in cards))


def _columns(
    fleet: Fleet, query: Query, instances: Instances, place: Place, positions: Sequence[int]
) -> tuple[Columns, Sequence[str]]:
    """Return the columns of the features, and the names that are ignored."""
    card = fleet.stacks[place.stack].card
    ignored: Sequence[str] = ()
    if query.extra == "ignore":
        instances, ignored = known(instances, card)
    return columns_of(instances, card, positions), ignored


def _places(fleet: Fleet, names: Sequence[str]) -> list[Place]:
    """Return the place of each dataset; each distinct name is looked up once."""
    places: dict[str, Place] = {}
    for position, name in enumerate(names):
        if name not in places:
            places[name] = fleet.place(fleet.position(name, f"instance {position}: "))
    return [places[name] for name in names]


def _names(fleet: Fleet, query: Query) -> str | Sequence[str]:
    """Return one dataset for all instances, or one for each.

    Raises PayloadError if an instance names none, or another one than the request.
    """
    if query.dataset is not None:
        _check_agreement(fleet, query, query.dataset)
        return query.dataset
    if fleet.num_datasets == 1 and DATASET in fleet.stacks[0].card.feature_names:
        return fleet.only()
    said = query.instances.datasets()
    if said is None:
        return fleet.only()
    return [_name(value, position) for position, value in enumerate(said)]


def _check_agreement(fleet: Fleet, query: Query, datasets: str | Sequence[str]) -> None:
    """Raise PayloadError if an instance names another dataset than the request. A feature `dataset` names none."""
    said = query.instances.datasets()
    if said is None:
        return
    first = datasets if isinstance(datasets, str) else datasets[0]
    if DATASET in fleet.card(first).feature_names:
        return
    expected = repeat(datasets) if isinstance(datasets, str) else datasets
    for position, (value, dataset) in enumerate(zip(said, expected, strict=False)):
        if value is not None and _name(value, position) != dataset:
            raise PayloadError(
                f"instance {position}: 'dataset' is {shown(value)}, and the request is about {shown(dataset)}: give "
                "the same in both, or leave it out of the instances"
            )


def _name(value: object, position: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise PayloadError(f"instance {position}: 'dataset' is {kind(value)}: give the name of a dataset for each instance")
