"""Read tables: files to fragments, fragments to columns, columns to datasets that can be regressed on.

In: the sources of a dataset and how to read them.
Out: a `Dataset`, checked and encoded, or its fragments.
Imported by: jobs/cli, jobs/prediction, jobs/run.py, jobs/reports, jobs/plan.py, jobs/groups, jobs/champions,
jobs/training, jobs/groups/scan.
"""
