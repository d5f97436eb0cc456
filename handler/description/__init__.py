"""Describe a collection, its datasets, and an example of a request.

In: a fleet.
Out: documents for callers.
Imported by: model_store/asgi, model_store/deployment, handler/hosting.
"""
