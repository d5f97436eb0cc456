"""docs/configuration.md holds every key of the schema, with its default."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs.config import json_schema, load_config

ROOT = Path(__file__).resolve().parents[4]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
ROW = re.compile(r"^\| `([a-z0-9_.]+)` \| (?:`([^`]*)`|(\S+)) \| (.+) \|$", re.MULTILINE)

Schema = Mapping[str, Any]


def sections(value: Schema, definitions: Schema) -> Iterator[Schema]:
    """Yield the objects with keys of their own that a property may hold."""
    if "$ref" in value:
        target = definitions[value["$ref"].rpartition("/")[2]]
        if target.get("properties"):
            yield target
    for choice in value.get("anyOf", []):
        yield from sections(choice, definitions)
    if "items" in value:
        yield from sections(value["items"], definitions)


def keys(section: Schema, definitions: Schema, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every key below a section by its path, with its default as the page writes it."""
    for name, value in section["properties"].items():
        yield prefix + name, written(value["default"]) if "default" in value else "required"
        for below in sections(value, definitions):
            yield from keys(below, definitions, f"{prefix}{name}.")


def written(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, dict):
        return "—"
    return default if isinstance(default, str) else json.dumps(default)


def on_the_page() -> dict[str, str]:
    found = {}
    for key, code, word, meaning in ROW.findall(PAGE):
        assert key not in found, f"{key} is there twice"
        assert meaning.strip()
        found[key] = code or word
    return found


def test_configuration_page_has_every_key_with_its_default() -> None:
    schema = json_schema()
    assert on_the_page() == dict(keys(schema, schema["$defs"]))


def test_configuration_page_begins_with_a_configuration_that_is_valid(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(example)
    assert load_config(path).name == "plants"
