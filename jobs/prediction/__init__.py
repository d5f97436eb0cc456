"""Predict without a server, by the same code as the endpoint.

In: a version of a collection and rows.
Out: predictions.
Imported by: jobs/cli.
"""
