"""Say what a job did: documents and tables.

In: trained datasets, groups and comparisons.
Out: JSON documents, text tables.
Imported by: jobs/cli, jobs/api.py, jobs/run.py.
"""
