"""Run tasks on Ray, and DDP ranks on Ray Train: the only modules that import ray and torch.distributed.

In: tasks: plain functions and their arguments.
Out: the outcome of each task: its value or its error.
Imported by: jobs/cli, jobs/groups, jobs/training, jobs/trials, jobs/groups/scan, jobs/progress.py, jobs/monitoring,
jobs/sources, jobs/recipe.py.
"""
