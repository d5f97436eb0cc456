"""Requests a second and latency of an endpoint: by wrk, or, where it is not installed, by a client in asyncio."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
local body = {body}
local count = {num_datasets}
local named = {{{named}}}
request = function()
  if count == 0 then return wrk.format(nil, nil, nil, body) end
  local name = string.format("store-%07d", math.random(0, count - 1))
  for _, header in ipairs(named) do wrk.headers[header] = name end
  return wrk.format(nil, nil, nil, (body:gsub("DATASET", name)))
end
"""


@dataclass(frozen=True)
class Rate:
    """Requests a second, and the latency that 99 of 100 requests stay below, in seconds."""

    requests_per_s: float
    p99_s: float


def measure(
    url: str,
    key: str,
    body: str,
    *,
    num_datasets: int = 0,
    connections: int = 8,
    duration_s: float = 5.0,
    named: Sequence[str] = (),
) -> Rate:
    """Send POST requests as fast as they are answered; DATASET in the body becomes a random one of `num_datasets`.

    The headers `named` have its name too.

    Raises AssertionError if one is not answered with 200.
    """
    if shutil.which("wrk") is None:
        return asyncio.run(_measure(url, key, body, num_datasets, connections, duration_s, named))
    names = ", ".join(map(json.dumps, named))
    script = SCRIPT.format(key=key, body=json.dumps(body), num_datasets=num_datasets, named=names)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{round(duration_s)}s", "--latency", "-s", file.name, url]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in said, said
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", said)
    assert rate is not None, said
    assert p99 is not None, said
    return Rate(float(rate[1]), float(p99[1]) * UNITS_S[p99[2]])


async def _measure(
    url: str, key: str, body: str, num_datasets: int, connections: int, duration_s: float, named: Sequence[str]
) -> Rate:
    parts = urlsplit(url)

    def request() -> bytes:
        name = f"store-{random.randrange(max(num_datasets, 1)):07d}"
        content = body.replace("DATASET", name).encode()
        headers = "".join(f"{header}: {name}\r\n" for header in named)
        return (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n{headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        ).encode() + content

    latencies: list[float] = []
    deadline = time.perf_counter() + duration_s

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while time.perf_counter() < deadline:
            started = time.perf_counter()
            writer.write(request())
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            assert answer.startswith("http/1.1 200"), answer
            await reader.readexactly(int(answer.split("content-length: ")[1].split("\r\n")[0]))
            latencies.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    latencies.sort()
    return Rate(len(latencies) / duration_s, latencies[int(0.99 * len(latencies))])
