"""The versions of a collection: commit, read, roll back, verify, and remove objects that no version needs.

In: drafts: champion tables and checkpoints.
Out: versions and champions.
Imported by: jobs/cli, jobs/prediction, jobs/run.py, jobs/reports, jobs/groups, jobs/champions, jobs/trials,
model_store/__init__.py, model_store/deployment, model_store/exports, model_store/archives.
"""
