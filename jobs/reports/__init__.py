"""Say what a job did: documents, tables, pictures.

In: trained datasets, groups and comparisons.
Out: JSON documents, text tables, PNG files.
Imported by: jobs/cli, jobs/api.py, jobs/run.py.
"""
