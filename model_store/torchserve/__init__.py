"""Start TorchServe, and speak to its ports.

In: an archive and the addresses of a server.
Out: a served version.
Imported by: jobs/cli, jobs/prediction, jobs/cluster, model_store/asgi, model_store/status.
"""
