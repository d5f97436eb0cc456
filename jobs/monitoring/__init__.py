"""What a job did, in numbers, for those who run it: Prometheus and OpenTelemetry.

In: what the driver counts while a job runs.
Out: a file for node exporter, a push to a Pushgateway, spans.
Imported by: jobs/api.py, jobs/reports, jobs/progress.py.
"""
