"""The configuration of a job: YAML in, one frozen value out, and one line of error for whatever is wrong with it."""

from .datasets import DatasetConfig, FeatureConfig, ValidationConfig
from .grid import GridConfig, GridPoint, grid_points
from .job import JobConfig, Metric, SelectConfig, StoreConfig, json_schema
from .reading import load_config
from .training import EarlyStoppingConfig, ScheduleConfig, TrainingConfig

__all__ = [
    "DatasetConfig",
    "EarlyStoppingConfig",
    "FeatureConfig",
    "GridConfig",
    "GridPoint",
    "JobConfig",
    "Metric",
    "ScheduleConfig",
    "SelectConfig",
    "StoreConfig",
    "TrainingConfig",
    "ValidationConfig",
    "grid_points",
    "json_schema",
    "load_config",
]
