"""Start TorchServe, speak to its ports, and put a version on a running server.

In: an archive and the addresses of a server.
Out: a served version.
Imported by: gridline/__init__.py, jobs/cli, jobs/prediction.
"""
