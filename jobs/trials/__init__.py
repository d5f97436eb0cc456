"""What was trained before: trials by a key of everything that they depend on.

In: trained datasets.
Out: the trials that need no training, as columns and as bytes in the store.
Imported by: jobs/run.py, jobs/reports, jobs/groups, jobs/training.
"""
