"""A file that a worker keeps about itself in the folder `control`, and replaces as a whole.

Its name is <pid>-<start>.json. `start` is the start time of the process in clock ticks since the boot: another process
with the same id has another.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any


def own_file(folder: Path) -> Path:
    """Return the file of this process in a folder."""
    return folder / f"{os.getpid()}-{start_of_process()}.json"


@cache
def start_of_process() -> str:
    """Return the start time of this process in clock ticks since the boot, or 0 where the system does not tell."""
    try:
        return Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "0"


def replace_file(path: Path, document: dict[str, Any]) -> None:
    """Replace a file, so that its readers never see half of it. Raises OSError, on a full disk for instance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document))
    partial.replace(path)
