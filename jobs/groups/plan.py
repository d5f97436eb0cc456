"""`gridline plan` for a fleet: its groups and what is known of them, read in this process.

Shapes: m groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from jobs.champions.documents import finite
from jobs.engines.closed_form.certificate import Certificate, certify
from jobs.engines.closed_form.spectrum import spectrum
from jobs.engines.moments import Moments, scaling_of
from jobs.groups.scan.layout import initial_layout
from jobs.groups.scan.partial import Partial
from jobs.groups.scan.scan import scan
from jobs.groups.scan.survey import needs_survey, survey, with_surveys
from jobs.groups.scan.trainable import Trainable, split_trainable
from jobs.recipe import Recipe
from jobs.sources.resolved import ResolvedSource
from jobs.training.datasets import resolve

CERTIFIED_GROUPS = 100  # above, the certificates of single groups are left to the run that trains them


@dataclass(frozen=True)
class GroupsPlan:
    """How many groups a source has, which of them can't be trained, and how their certificates are spread.

    The certificates of single groups are there for up to a hundred. Numbers are (least, median, greatest).
    """

    name: str
    num_groups: int
    failures: dict[str, str]
    num_rows: tuple[float, float, float] | None
    stability_limit: tuple[float, float, float] | None
    condition_number: tuple[float, float, float] | None
    certificates: tuple[Certificate, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plan for a JSON document; an infinite condition number is null."""
        spreads = {name: getattr(self, name) for name in ("num_rows", "stability_limit", "condition_number")}
        return {
            "name": self.name,
            "num_groups": self.num_groups,
            "failures": self.failures,
            **{name: spread and [finite(value) for value in spread] for name, spread in spreads.items()},
        }


def plan_groups(source: ResolvedSource, recipe: Recipe) -> GroupsPlan:
    """Return the plan of the groups of a source. Raises DataError where a file can't be read."""
    layout = initial_layout(source)
    if needs_survey(layout.card.features):
        layout = with_surveys(layout, [survey(source.fragments, layout, source.s3, recipe.memory_mb)])
    _, partial = scan(source.fragments, layout, source.s3, recipe.memory_mb, 1)
    assert isinstance(partial, Partial)  # noqa: S101 - what follows the summary
    trainable, failures = split_trainable(partial, layout, recipe.settings.bias)
    num_groups = sum(len(groups.name_m) for groups in trainable)
    spreads = _spreads([_kept(groups) for groups in trainable], recipe)
    certificates = tuple(c for groups in trainable for c in _certificates(groups, recipe))
    return GroupsPlan(
        name=source.name,
        num_groups=num_groups,
        failures=failures,
        **spreads,
        certificates=certificates if num_groups <= CERTIFIED_GROUPS else (),
    )


def _kept(groups: Trainable) -> Moments:
    return groups.moments.without(groups.held_out[0]) if len(groups.held_out) == 1 else groups.moments


def _certificates(groups: Trainable, recipe: Recipe) -> list[Certificate]:
    kept = _kept(groups)
    certificates = []
    for place, name in enumerate(groups.name_m[:CERTIFIED_GROUPS].to_pylist()):
        moments = kept.take(slice(place, place + 1))
        certificates.append(certify(name, moments, resolve(moments, recipe), recipe.settings))
    return certificates


def _spreads(kept: list[Moments], recipe: Recipe) -> dict[str, tuple[float, float, float] | None]:
    bias = recipe.settings.bias
    rows, limits, conditions = [], [], []
    for moments in kept:
        trained = scaling_of(moments, bias).apply(moments) if recipe.settings.normalize else moments
        basis = spectrum(trained, bias)
        smallest_m = basis.eigenvalue_mp[:, 0]
        rows.append(moments.num_rows_m)
        limits.append(2 / basis.largest_m)
        conditions.append(torch.where(smallest_m > 0, basis.largest_m / smallest_m, torch.inf))
    named = {"num_rows": rows, "stability_limit": limits, "condition_number": conditions}
    return {name: _spread(torch.cat(values)) if values else None for name, values in named.items()}


def _spread(values_m: torch.Tensor) -> tuple[float, float, float]:
    return values_m.min().item(), values_m.median().item(), values_m.max().item()
