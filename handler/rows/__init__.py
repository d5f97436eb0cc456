"""The only encoder of rows, for training and serving: how a raw row becomes d numbers.

In: a model card, and raw columns.
Out: encoded rows.
Imported by: jobs/prediction, jobs/groups, jobs/champions, jobs/training, jobs/trials, jobs/groups/scan, jobs/sources,
jobs/config, model_store/exports, model_store/ledger, handler/hosting, handler/description, handler/answers,
handler/requests, handler/models.
"""
