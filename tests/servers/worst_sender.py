"""Send the worst bodies to an endpoint, one after the other, in a process of its own: making them takes a processor.

`python -m tests.servers.worst_sender URL KEY` prints a line of JSON for each: its name, and its status, or 0 if the
connection was cut.
"""

from __future__ import annotations

import json
import sys

import httpx

from benchmarks.worst_bodies import WORST_BODIES


def main(url: str, key: str) -> None:
    """Print what became of each body."""
    with httpx.Client(timeout=60.0, trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client:
        for worst in WORST_BODIES:
            headers = {"Content-Type": worst.content_type, **worst.headers}
            try:
                status = client.post(url, content=worst.body(), headers=headers).status_code
            except httpx.TransportError:
                status = 0
            print(json.dumps([worst.name, status]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
