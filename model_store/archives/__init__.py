"""Package a version as a `.mar` file that TorchServe loads.

In: a version.
Out: an archive, byte for byte the same for the same version.
Imported by: jobs/cli, jobs/prediction, jobs/cluster, model_store/asgi, model_store/status, model_store/torchserve,
model_store/serving, model_store/deployment, model_store/exports.
"""
