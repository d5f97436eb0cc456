"""One size of one engine in a process of its own: `python -m benchmarks.growth ENGINE ROWS FEATURES RATES`.

Prints the seconds, the bytes of the data, and those that the work took beyond them at its highest.
"""

from __future__ import annotations

import json
import sys

from benchmarks.measuring import forget_peak, medians, memory_bytes
from benchmarks.synthetic import rates_grid, regression, spaced_rates
from jobs.engines.closed_form import engine as closed_form
from jobs.engines.minibatch import block_training
from jobs.engines.minibatch.rows import Rows
from jobs.engines.settings import TrainingSettings

BATCH_SIZE = 1024


def main(engine: str, num_rows: int, num_columns: int, num_rates: int) -> None:
    """Train once with memory watched, then for time."""
    data = regression(num_rows, num_columns)
    grid = rates_grid(spaced_rates(num_rates))

    def work() -> None:
        rows = Rows(data.x_nd, data.y_n)
        if engine == "closed_form":
            closed_form.train(rows.all_rows, [], grid, TrainingSettings(epochs=1000))
        else:
            block_training.train(rows, grid, TrainingSettings(epochs=1, batch_size=BATCH_SIZE))

    forget_peak()
    before = memory_bytes("VmRSS")
    work()
    work_bytes = memory_bytes("VmHWM") - before
    (time_s,) = medians(work, repeats=3)
    print(json.dumps({"seconds": time_s, "data_bytes": data.size_bytes, "work_bytes": work_bytes}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
