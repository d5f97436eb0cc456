"""A parquet file to numpy by pyarrow, in a process: `python -m benchmarks.peers.pyarrow_read FILE`; prints the seconds.

One call reads the whole file, on all cores, and each column becomes an array; the second reading counts, as the file
is in the page cache for everyone.
"""

from __future__ import annotations

import json
import sys
import time

import pyarrow.parquet as pq


def read(path: str) -> float:
    """Return the seconds of a reading."""
    started = time.perf_counter()
    arrays = [column.to_numpy() for column in pq.read_table(path).columns]
    assert arrays
    return time.perf_counter() - started


if __name__ == "__main__":
    read(sys.argv[1])
    print(json.dumps({"seconds": read(sys.argv[1])}))
