"""What every host of the endpoint shares: requests in, answers out, and what a worker counts.

In: requests as a host received them.
Out: an answer for each.
Imported by: jobs/cluster, model_store/asgi, model_store/status, model_store/serving, model_store/deployment,
handler/linear_handler.py.
"""
