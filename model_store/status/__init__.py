"""The state of a server for probes and scrapers, on a port of its own, and the cure of one that does not answer.

In: the reports of the workers, and the APIs of the server.
Out: /livez, /readyz and /metrics, and workers or a server that are started again.
Imported by: jobs/cli.
"""
