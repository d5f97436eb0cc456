"""Write docs/real-tables.md: train all real tables, and count what came of them. `python -m tests.real`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.real.counts import PAGE, page_of
from tests.real.measuring import measure
from tests.real.tables import real_tables


def main() -> None:
    """Train in a temporary folder, on the Ray of RAY_ADDRESS or one that is started, and write the page."""
    with tempfile.TemporaryDirectory(prefix="gl-real-", dir="/tmp") as folder:
        page = page_of(measure(real_tables(), Path(folder)))
    PAGE.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
