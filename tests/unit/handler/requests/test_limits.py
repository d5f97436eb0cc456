from __future__ import annotations

from pathlib import Path

import pytest

from handler.requests import limits

PAGE = (Path(__file__).parents[4] / "docs" / "security.md").read_text()


@pytest.mark.parametrize("name", [name for name in vars(limits) if name.startswith("MAX_")])
def test_the_page_has_each_bound(name: str) -> None:
    assert f"{getattr(limits, name):,}" in PAGE.partition("## Bounds of a request")[2].partition("\n## ")[0]
