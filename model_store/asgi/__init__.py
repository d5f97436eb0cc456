"""A second host of the endpoint, beside TorchServe: processes of uvicorn that share a socket, without Java.

In: an archive and the settings of a server.
Out: the addresses, documents, keys and management API that gridline documents for TorchServe.
Imported by: jobs/cli, jobs/cluster.
"""
