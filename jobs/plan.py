"""`gridline plan`: engine, blocks and certificates of a job, without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handler.errors import GridlineError
from jobs.config import JobConfig
from jobs.engines.closed_form.certificate import Certificate
from jobs.errors import DONE, PARTIAL_FAILURE
from jobs.groups.name_clashes import require_distinct_groups
from jobs.groups.plan import GroupsPlan, plan_groups
from jobs.recipe import Recipe
from jobs.sources.job_datasets import ResolvedJob, collecting, reason_of, require_none, resolve_job
from jobs.training.datasets import certify_dataset
from jobs.training.driver import make_blocks


@dataclass(frozen=True)
class Plan:
    """The recipe, the blocks (names of the datasets that a task trains together), certificates and scanned sources.

    `failed` has the reasons of the datasets of the configuration that can't be trained. `left_out` and `unused` are the
    rows and columns that are left out of listed datasets.
    """

    collection: str
    recipe: Recipe
    blocks: tuple[tuple[str, ...], ...]
    certificates: tuple[Certificate, ...]
    fleets: tuple[GroupsPlan, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    unused: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 5 if some datasets can't be trained."""
        return PARTIAL_FAILURE if self.failed or any(fleet.failures for fleet in self.fleets) else DONE

    def to_json(self) -> dict[str, Any]:
        """Return the document of `plan --json`."""
        return {
            "collection": self.collection,
            "engine": self.recipe.engine,
            "reason": self.recipe.reason,
            "blocks": [{"datasets": list(block)} for block in self.blocks],
            "datasets": [certificate.to_json() for certificate in self.certificates],
            "fleets": [fleet.to_json() for fleet in self.fleets],
            "failed": [{"dataset": name, "reason": reason} for name, reason in self.failed.items()],
            "left_out": self.all_left_out(),
            "columns_left_out": self.all_unused(),
        }

    def all_left_out(self) -> dict[str, Mapping[str, int]]:
        """Return the numbers of rows that are left out of each dataset or group, by reason."""
        return {**self.left_out, **{name: rows for fleet in self.fleets for name, rows in fleet.left_out.items()}}

    def all_unused(self) -> dict[str, Mapping[str, str]]:
        """Return the reasons of the columns of no use of each dataset or source of groups."""
        return {**self.unused, **{fleet.name: fleet.unused for fleet in self.fleets if fleet.unused}}


def make_plan(config: JobConfig, base: Path, *, strict: bool = False) -> Plan:
    """Return the plan of a job.

    Raises ConfigError, and the errors of all datasets if none can be trained; with `strict`, if one can't.
    """
    job = resolve_job(config, base)
    read = job.read()
    require_distinct_groups([dataset.name for dataset in read.datasets], job.scanned)
    fleets, bad = _plan_sources(job, read.bad)
    if strict or not (read.datasets or fleets):
        require_none(bad)
    blocks = make_blocks(read.datasets)
    certified = [certify_dataset(dataset, job.recipe) for dataset in read.datasets]
    return Plan(
        collection=config.name,
        recipe=job.recipe,
        blocks=tuple(tuple(block) for block in blocks.values()),
        certificates=(*certified, *(certificate for fleet in fleets for certificate in fleet.certificates)),
        fleets=tuple(fleets),
        failed={each.name: reason_of(each.name, bad[each.name]) for each in config.datasets if each.name in bad},
        left_out={dataset.name: dataset.left_out for dataset in read.datasets if dataset.left_out},
        unused={dataset.name: dataset.unused for dataset in read.datasets if dataset.unused},
    )


def _plan_sources(
    job: ResolvedJob, bad: Mapping[str, GridlineError]
) -> tuple[list[GroupsPlan], dict[str, GridlineError]]:
    """Return the plans of the scanned sources, and the errors of these and of the `bad` datasets."""
    plans, errors = list[GroupsPlan](), dict(bad)
    for source in job.scanned:
        with collecting(errors, source.name):
            plans.append(plan_groups(source, job.recipe))
    return plans, errors
