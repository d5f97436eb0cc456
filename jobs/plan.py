"""`gridline plan`: engine, blocks and certificates of a job, without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.config import JobConfig
from jobs.engines.closed_form.certificate import Certificate
from jobs.groups.plan import GroupsPlan, plan_groups
from jobs.recipe import Recipe
from jobs.sources.job_datasets import resolve_job
from jobs.training.datasets import certify_dataset
from jobs.training.driver import make_blocks


@dataclass(frozen=True)
class Plan:
    """The recipe, the blocks (names of the datasets that a task trains together), certificates and scanned sources."""

    collection: str
    recipe: Recipe
    blocks: tuple[tuple[str, ...], ...]
    certificates: tuple[Certificate, ...]
    fleets: tuple[GroupsPlan, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the document of `plan --json`."""
        return {
            "collection": self.collection,
            "engine": self.recipe.engine,
            "reason": self.recipe.reason,
            "blocks": [{"datasets": list(block)} for block in self.blocks],
            "datasets": [certificate.to_json() for certificate in self.certificates],
            "fleets": [fleet.to_json() for fleet in self.fleets],
        }


def make_plan(config: JobConfig, base: Path) -> Plan:
    """Return the plan of a job. Raises ConfigError, and DataError at the first dataset that can't be regressed on."""
    job = resolve_job(config, base)
    datasets = job.read()
    blocks = make_blocks(datasets)
    fleets = [plan_groups(source, job.recipe) for source in job.scanned]
    certified = [certify_dataset(dataset, job.recipe) for dataset in datasets]
    return Plan(
        collection=config.name,
        recipe=job.recipe,
        blocks=tuple(tuple(block) for block in blocks.values()),
        certificates=(*certified, *(certificate for fleet in fleets for certificate in fleet.certificates)),
        fleets=tuple(fleets),
    )
