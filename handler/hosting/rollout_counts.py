"""What a worker counts of a canary or a shadow, and the sum over all workers.

Shapes: n rows of a request.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from .own_file import replace_file

BOUNDS = (*(digit * 10.0**power for power in range(-3, 3) for digit in (1, 2, 5)), 1000.0)


@dataclass
class RolloutCounts:
    """Counts of a new version beside the one that serves.

    `requests` could have been given to it, `tried` were; of those `errors` were refused by it and answered by the
    other version (`error` is the last reason). Of `compared` requests all rows are in `histogram`, by the distance of
    the predictions in residual standard deviations (`BOUNDS`, and beyond); `unscaled` rows differ, and have no
    standard deviation. `problem` says why a worker does not take part.
    """

    pid: int = field(default_factory=os.getpid)
    problem: str | None = None
    requests: int = 0
    tried: int = 0
    errors: int = 0
    error: str | None = None
    compared: int = 0
    unscaled: int = 0
    unscaled_dataset: str | None = None
    distance_sum: float = 0.0
    distance_max: float = 0.0
    distance_dataset: str | None = None
    histogram: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))

    @property
    def num_rows(self) -> int:
        """The rows whose distance is known."""
        return sum(self.histogram)

    @property
    def error_rate(self) -> float:
        return self.errors / self.tried if self.tried else 0.0

    @property
    def distance_mean(self) -> float:
        return self.distance_sum / self.num_rows if self.num_rows else 0.0

    def quantile(self, share: float) -> float:
        """Return a bound below which this share of the distances lies: of the histogram, or the greatest distance."""
        wanted, seen = math.ceil(share * self.num_rows), 0
        for bound, count in zip(BOUNDS, self.histogram, strict=False):
            seen += count
            if seen >= wanted:
                return min(bound, self.distance_max)
        return self.distance_max

    def add_error(self, reason: str) -> None:
        """Count a request that only the new version refuses."""
        self.errors += 1
        self.error = reason

    def add_distances(self, distance_n: Iterable[float], datasets: Sequence[str]) -> None:
        """Count the rows of a request; a distance is NaN where it is not known, and infinite beyond float64."""
        self.compared += 1
        for distance, dataset in zip(distance_n, datasets, strict=True):
            if math.isnan(distance):
                self.unscaled += 1
                self.unscaled_dataset = dataset
                continue
            kept = min(distance, 1e300)
            self.histogram[bisect_left(BOUNDS, kept)] += 1
            self.distance_sum += kept
            if kept > self.distance_max:
                self.distance_max, self.distance_dataset = kept, dataset

    def write(self, path: Path) -> None:
        """Replace the file of this worker; on a full disk the next time may do."""
        with contextlib.suppress(OSError):
            replace_file(path, asdict(self))


def read_counts(folder: Path) -> list[RolloutCounts]:
    """Return what each worker has written into a folder."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.append(RolloutCounts(**json.loads(path.read_text())))
    return found


def sum_of(counts: Sequence[RolloutCounts]) -> RolloutCounts:
    """Return the counts of all workers as those of one."""
    total = RolloutCounts(pid=0)
    for one in counts:
        if one.distance_max > total.distance_max:
            total.distance_max, total.distance_dataset = one.distance_max, one.distance_dataset
        total.histogram = [a + b for a, b in zip(total.histogram, one.histogram, strict=True)]
        for name in SUMMED:
            setattr(total, name, getattr(total, name) + getattr(one, name))
        for name in LAST:
            setattr(total, name, getattr(one, name) or getattr(total, name))
    return total


SUMMED = ("requests", "tried", "errors", "compared", "unscaled", "distance_sum")
LAST = ("problem", "error", "unscaled_dataset")
assert {*SUMMED, *LAST} <= {one.name for one in fields(RolloutCounts)}  # noqa: S101 - they are read by name
