"""The code that runs in TorchServe, and the only encoder of rows, which training uses too.

In: the bytes of requests, and the files of an archive.
Out: predictions; encoded rows; model cards.
Imported by: gridline/__init__.py, jobs/cli, jobs/prediction, jobs/run.py, jobs/plan.py, jobs/groups, jobs/champions,
jobs/training, jobs/trials, jobs/groups/scan, jobs/sources, jobs/config, jobs/errors.py, model_store/deployment,
model_store/archives, model_store/ledger, model_store/errors.py.
"""
