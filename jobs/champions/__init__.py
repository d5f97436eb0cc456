"""Choose the best trial of each dataset, compare it with the champion, and commit the better one.

In: trained datasets and the newest version of the collection.
Out: comparisons and a new version.
Imported by: jobs/cli, jobs/run.py, jobs/reports, jobs/groups.
"""
