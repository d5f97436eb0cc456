"""How a linear regression is trained: pure functions over tensors and frozen dataclasses.

In: rows or their moments, hyperparameters and settings.
Out: a `BlockResult`: weights, curves, metrics and a status for each trial.
Imported by: jobs/cli, jobs/groups, jobs/champions, jobs/training, jobs/trials, jobs/groups/scan, jobs/recipe.py,
jobs/config, jobs/engines/minibatch, jobs/engines/closed_form.
"""
