"""The models of a version as they are served: stacks by model card, an index of names, and their files.

In: the files of an archive.
Out: a fleet.
Imported by: jobs/prediction, jobs/groups, jobs/champions, jobs/engines/closed_form, model_store/asgi,
model_store/exports, model_store/archives, model_store/ledger, handler/linear_handler.py, handler/hosting,
handler/description, handler/answers, handler/requests.
"""
