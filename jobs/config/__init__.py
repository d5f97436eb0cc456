"""The configuration of a job: YAML in, one frozen value out, and one line of error for whatever is wrong with it.

In: a YAML file.
Out: a `JobConfig`.
Imported by: gridline/__init__.py, jobs/cli, jobs/prediction, jobs/api.py, jobs/run.py, jobs/plan.py, jobs/sources,
jobs/recipe.py.
"""

from jobs.config.datasets import DatasetConfig, ValidationConfig
from jobs.config.features import FeatureConfig
from jobs.config.grid import GridConfig, grid_points
from jobs.config.job import JobConfig, Metric, SelectConfig, StoreConfig, json_schema
from jobs.config.reading import load_config, make_config
from jobs.config.reading_options import ReadingConfig
from jobs.config.training import EarlyStoppingConfig, ScheduleConfig, TrainingConfig

__all__ = [
    "DatasetConfig",
    "EarlyStoppingConfig",
    "FeatureConfig",
    "GridConfig",
    "JobConfig",
    "Metric",
    "ReadingConfig",
    "ScheduleConfig",
    "SelectConfig",
    "StoreConfig",
    "TrainingConfig",
    "ValidationConfig",
    "grid_points",
    "json_schema",
    "load_config",
    "make_config",
]
