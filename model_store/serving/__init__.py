"""Run a server of models as a child process, whichever it is: its folder, ports, start, signals and end.

In: an archive, the settings of a server, and the function that starts it.
Out: a server that answers, until a signal asks it to stop.
Imported by: jobs/cli, jobs/cluster, model_store/asgi, model_store/status, model_store/torchserve.
"""
