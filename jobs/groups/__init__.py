"""Train one dataset for each group of a source, and datasets that do not fit in memory.

In: a source and a recipe.
Out: the trained groups, part by part, and their trials.
Imported by: jobs/cli, jobs/run.py, jobs/reports, jobs/plan.py.
"""
