"""What a run cost: what it used, times the prices of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from model_store.objects.traffic import Counts


@dataclass(frozen=True)
class Prices:
    """Dollars for an hour of one CPU, for 1,000 requests to S3, and for 10⁹ bytes sent or received."""

    cpu_hour: float = 0.0
    thousand_requests: float = 0.0
    gb: float = 0.0

    def dollars(self, cpu_s: float, traffic: Counts) -> float:
        """Return the cost of CPU seconds and of requests with their bytes."""
        requests, size_bytes = sum(traffic.requests.values()), traffic.sent_bytes + traffic.received_bytes
        return cpu_s / 3600 * self.cpu_hour + requests / 1000 * self.thousand_requests + size_bytes / 1e9 * self.gb
