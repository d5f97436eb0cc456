"""Ask a server with both clients whether it and its model are ready, and what they are; run with `make clients`."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from kserve import InferenceRESTClient, RESTConfig
from tritonclient.http import InferenceServerClient

HEADERS = {"Authorization": f"Bearer {os.environ['KEY']}"}
ADDRESS, COLLECTION = os.environ["ADDRESS"], os.environ["COLLECTION"]
URL = f"http://{ADDRESS}"


async def kserve() -> list[Any]:
    second, first = (InferenceRESTClient(RESTConfig(protocol=protocol)) for protocol in ("v2", "v1"))
    found = [
        await second.is_server_live(URL, headers=HEADERS),
        await second.is_server_ready(URL, headers=HEADERS),
        await second.is_model_ready(URL, COLLECTION, headers=HEADERS),
        await first.is_model_ready(URL, COLLECTION, headers=HEADERS),
    ]
    await first.close()
    await second.close()
    return found


client = InferenceServerClient(ADDRESS)
found = {
    "kserve": asyncio.run(kserve()),
    "triton": [
        client.is_server_live(headers=HEADERS),
        client.is_server_ready(headers=HEADERS),
        client.is_model_ready(COLLECTION, headers=HEADERS),
        client.is_model_ready(COLLECTION, "1", headers=HEADERS),
    ],
    "others": [client.is_model_ready("none", headers=HEADERS), client.is_model_ready(COLLECTION, "7", headers=HEADERS)],
    "server": client.get_server_metadata(headers=HEADERS),
    "model": client.get_model_metadata(COLLECTION, "1", headers=HEADERS),
}
print(json.dumps(found))
