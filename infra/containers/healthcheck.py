"""Ask an address once, for a health check without curl: the exit code is 0 if it answers 200; the answer is printed."""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

TIMEOUT_S = 5.0


def main(address: str) -> int:
    """Return 0 if the address answers 200, else 1; print what it said on one line."""
    url = urlsplit(address)
    connection = HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", url.path)
        answer = connection.getresponse()
        print(answer.status, answer.read(500).decode(errors="replace").strip())
    except (OSError, HTTPException) as exc:
        print(f"{address} does not answer: {exc}")
        return 1
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
