"""The `prices` of a configuration: what the metrics of a job count the cost with."""

from __future__ import annotations

from jobs.config.values import NotNegative, Section


class PricesConfig(Section):
    """Dollars for what a job uses. They change no result: a job with other prices is the same job."""

    cpu_hour: NotNegative = 0.0
    """For an hour of one CPU, of the driver or of a worker."""
    thousand_requests: NotNegative = 0.0
    """For 1,000 requests to S3."""
    gb: NotNegative = 0.0
    """For 10⁹ bytes that are sent to S3 or received from it."""
