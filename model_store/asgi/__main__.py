"""`python -m model_store.asgi SETTINGS_FILE`: the process that model_store/asgi/process.py starts."""

from __future__ import annotations

import sys
from pathlib import Path

from model_store.asgi.host import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
