"""Claim a run for one process, and store the files of runs.

In: a run id.
Out: a claim that other processes see, and the folder of the run.
Imported by: jobs/api.py, jobs/run.py, jobs/reports, jobs/groups, jobs/trials, model_store/status, model_store/ledger.
"""
