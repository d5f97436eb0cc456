from __future__ import annotations

from pathlib import Path

import httpx

from model_store.serving.ports import with_free
from model_store.serving.settings import ServerSettings
from model_store.status.watching import watched
from tests.servers.torchserve import ANY_PORTS


def test_the_status_is_served_before_the_server_is_there(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path, ports=with_free(ANY_PORTS))
    with watched(settings, "127.0.0.1", 0, str) as watch:
        pages = {path: httpx.get(watch.url + path) for path in ("/livez", "/readyz", "/metrics")}
        watch.state.doing = None
        assert (pages["/livez"].status_code, pages["/livez"].text) == (200, "starting\n")
        assert (pages["/readyz"].status_code, pages["/readyz"].text) == (503, "starting\n")
        assert "gridline_up 0.0" in pages["/metrics"].text
