"""`gridline plan` for a scanned source: its groups and their certificates, computed in this process.

Shapes: m groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from jobs.champions.documents import finite
from jobs.engines.closed_form.certificate import Certificate
from jobs.engines.closed_form.spectrum import spectrum
from jobs.engines.moments import Moments
from jobs.engines.scaling import scaled
from jobs.engines.settings import TrainingSettings
from jobs.groups.scan.layout import initial_layout
from jobs.groups.scan.partial import Partial
from jobs.groups.scan.scan import scan
from jobs.groups.scan.survey import needs_survey, survey, with_surveys
from jobs.groups.scan.trainable import Trainable, left_out_by_group, split_trainable
from jobs.recipe import Recipe
from jobs.sources.choosing import choose_columns
from jobs.sources.resolved import ResolvedSource
from jobs.training.datasets import certified, resolve

CERTIFIED_GROUPS = 100  # above, single groups have no certificate
Spread = tuple[float, float, float]


@dataclass(frozen=True)
class GroupsPlan:
    """The number of groups of a source, the reasons of untrainable ones, and the spreads of three numbers.

    A spread is (least, median, greatest), or None if no group can be trained. `certificates` are those of single
    groups, if these are a hundred or fewer. `left_out` counts the rows that are left out of groups, by reason, and
    `unused` has the reasons of columns of no use.
    """

    name: str
    num_groups: int
    failures: dict[str, str]
    spreads: Mapping[str, Spread | None]
    certificates: tuple[Certificate, ...]
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the plan for a JSON document; an infinite condition number is null."""
        return {
            "name": self.name,
            "num_groups": self.num_groups,
            "failures": self.failures,
            **{name: spread and [finite(value) for value in spread] for name, spread in self.spreads.items()},
        }


def plan_groups(source: ResolvedSource, recipe: Recipe) -> GroupsPlan:
    """Return the plan of the groups of a source. Raises DataError if a file can't be read."""
    layout = initial_layout(choose_columns(source))
    if needs_survey(layout.card.features):
        layout = with_surveys(layout, [survey(source.fragments, layout, source.s3, recipe.memory_mb)])
    _, partial = scan(source.fragments, layout, source.s3, recipe.memory_mb, 1)
    assert isinstance(partial, Partial)  # noqa: S101 - what follows the summary
    trainable, failures = split_trainable(partial, layout, recipe.settings.bias, ridge=recipe.ridge)
    num_groups = sum(len(groups.name_m) for groups in trainable)
    certificates = tuple(c for groups in trainable for c in _certificates(groups, recipe))
    return GroupsPlan(
        name=source.name,
        num_groups=num_groups,
        failures=failures,
        spreads=_spreads([_train_moments(groups) for groups in trainable], recipe.settings),
        certificates=certificates if num_groups <= CERTIFIED_GROUPS else (),
        left_out=left_out_by_group(partial, layout),
        unused=layout.unused,
    )


def _train_moments(groups: Trainable) -> Moments:
    return groups.moments.without(groups.held_out[0]) if len(groups.held_out) == 1 else groups.moments


def _certificates(groups: Trainable, recipe: Recipe) -> list[Certificate]:
    trained = _train_moments(groups)
    names = groups.name_m[:CERTIFIED_GROUPS].to_pylist()
    alone = [(name, trained.take(slice(place, place + 1))) for place, name in enumerate(names)]
    return [certified(name, groups.card, moments, resolve(moments, recipe), recipe.settings) for name, moments in alone]


def _spreads(trained: Sequence[Moments], settings: TrainingSettings) -> dict[str, Spread | None]:
    bases = [spectrum(scaled(each, settings), settings.bias) for each in trained]
    named = {
        "num_rows": [each.rows_m for each in trained],
        "stability_limit": [2 / basis.largest_m for basis in bases],
        "condition_number": [basis.condition_m for basis in bases],
    }
    return {name: _spread(torch.cat(values)) if values else None for name, values in named.items()}


def _spread(values_m: torch.Tensor) -> Spread:
    return values_m.min().item(), values_m.median().item(), values_m.max().item()
