"""Put a version on a running server, whichever it is, and follow a collection.

In: an archive or a ledger, and a `Server`.
Out: the version that the server answers with.
Imported by: gridline/__init__.py, jobs/cli, jobs/prediction, jobs/cluster, model_store/asgi, model_store/status,
model_store/torchserve, model_store/serving.
"""
