"""A fleet: the stacks of a version by model card, an index of the datasets, and the training facts of each.

Shapes: n rows of the index, one for each dataset, sorted by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import NotServedError, PayloadError
from ..rows.model_card import ModelCard
from ..wording import shown
from .stack import ServedStack
from .text_table import NameIndex, TextTable

Facts = Mapping[str, object]


@dataclass(frozen=True)
class TextColumn:
    """A column of texts that stores each distinct text once; `code_n` is the position in `texts`, or -1 for none."""

    code_n: NDArray[np.int32]
    texts: TextTable


@dataclass(frozen=True)
class FactTable:
    """The training facts of each dataset: columns of numbers (NaN for none) and of texts."""

    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    texts: Mapping[str, TextColumn] = field(default_factory=dict)

    def row(self, position: int) -> Facts:
        """Return the facts of one dataset, without those that it lacks."""
        numbers = {name: float(column[position]) for name, column in self.numbers.items()}
        texts = {name: (column, int(column.code_n[position])) for name, column in self.texts.items()}
        return {name: number for name, number in numbers.items() if not math.isnan(number)} | {
            name: column.texts[code] for name, (column, code) in texts.items() if code >= 0
        }


@dataclass(frozen=True)
class Place:
    """The position of a model: the stack, and the row in the stack."""

    stack: int
    row: int


@dataclass(frozen=True)
class Fleet:
    """The models of one version of a collection; `stack_n` and `row_n` are the place of each dataset's model.

    `committed_at` is the time of the commit, ISO 8601 in UTC; empty in the archive of an older gridline.
    """

    collection: str
    version: int
    index: NameIndex = field(repr=False)
    stack_n: NDArray[np.int32] = field(repr=False)
    row_n: NDArray[np.int32] = field(repr=False)
    stacks: tuple[ServedStack, ...] = field(repr=False)
    facts: FactTable = field(default_factory=FactTable, repr=False)
    committed_at: str = ""

    @cached_property
    def num_datasets(self) -> int:
        """The number of datasets."""
        return len(self.index)

    @cached_property
    def first(self) -> str:
        """The name of the first dataset, which is often the only one."""
        return self.index.names[0]

    @cached_property
    def most_features(self) -> int:
        """The number of features of the models that take most."""
        return max(len(stack.card.features) for stack in self.stacks)

    def position(self, dataset: str, where: str = "") -> int:
        """Return the position of a dataset. Raises NotServedError; `where` begins its message."""
        position = 0 if dataset == self.first else self.index.find(dataset)
        if position < 0:
            raise NotServedError(
                f"{where}dataset {shown(dataset)} is not in version {self.version} of collection {self.collection!r}, "
                f"which holds {self.num_datasets}, such as {shown(self.first)}"
            )
        return position

    def place(self, position: int) -> Place:
        """Return the place of the model of the dataset at this position."""
        return Place(int(self.stack_n[position]), int(self.row_n[position]))

    def card(self, dataset: str) -> ModelCard:
        """Return the model card of a dataset. Raises NotServedError."""
        return self.stacks[self.place(self.position(dataset)).stack].card

    def only(self) -> str:
        """Return the name of the only dataset. Raises PayloadError if there are several."""
        if self.num_datasets != 1:
            raise PayloadError(
                f"the request names no dataset, and collection {self.collection!r} holds {self.num_datasets}: "
                f'add "dataset", such as {shown(self.first)}'
            )
        return self.first
