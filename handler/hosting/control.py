"""The folder through which gridline's commands and the workers of a server speak, without the server's own help.

The environment variable GRIDLINE_CONTROL names it. A server that gridline did not start has none.
"""

from __future__ import annotations

import os
from pathlib import Path

CONTROL = "GRIDLINE_CONTROL"


def control_folder() -> Path | None:
    """Return the folder `control` of the server whose worker this process is, or None."""
    name = os.environ.get(CONTROL)
    return Path(name) if name else None
