"""Trials: those trained before, by a key of everything that they depend on; and the table and documents of any.

In: trained datasets.
Out: the trials that need no training, as columns and as bytes in the store; a table with a row for each trial.
Imported by: jobs/cli, jobs/run.py, jobs/reports, jobs/groups, jobs/champions, jobs/training.
"""
