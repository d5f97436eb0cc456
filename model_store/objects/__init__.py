"""Store immutable objects in a folder or in S3: read, create if absent, list, delete.

In: keys and bytes.
Out: bytes, verified by their sha256.
Imported by: jobs/cli, jobs/prediction, jobs/api.py, jobs/reports, jobs/champions, jobs/trials, jobs/groups/scan,
jobs/monitoring, jobs/sources, jobs/config, model_store/deployment, model_store/archives, model_store/ledger,
model_store/claims.
"""
