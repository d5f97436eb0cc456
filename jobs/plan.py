"""`gridline plan`: what a job would do, and what is known of it before it does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.blocks import make_blocks
from jobs.certificate import Certificate
from jobs.config import JobConfig
from jobs.data import read_datasets
from jobs.planning import Recipe, make_recipe
from jobs.training import certify_dataset


@dataclass(frozen=True)
class Plan:
    """The recipe, the blocks (the names of the datasets that a Ray task trains together), and the certificates."""

    collection: str
    recipe: Recipe
    blocks: tuple[tuple[str, ...], ...]
    certificates: tuple[Certificate, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document of `plan --json`."""
        return {
            "collection": self.collection,
            "engine": self.recipe.engine,
            "reason": self.recipe.reason,
            "blocks": [{"datasets": list(block)} for block in self.blocks],
            "datasets": [certificate.to_json() for certificate in self.certificates],
        }


def make_plan(config: JobConfig, base: Path) -> Plan:
    """Return the plan of a job. Raises ConfigError, and DataError at the first dataset that can't be regressed on."""
    recipe = make_recipe(config)
    datasets = read_datasets(config, base)
    blocks = make_blocks(datasets)
    return Plan(
        collection=config.name,
        recipe=recipe,
        blocks=tuple(tuple(block) for block in blocks.values()),
        certificates=tuple(certify_dataset(dataset, recipe) for dataset in datasets),
    )
