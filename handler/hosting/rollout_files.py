"""The files of a canary or a shadow: `gridline deploy` writes what is wanted, and each worker what it counted.

<control>/rollouts.json                    by collection: Wanted, as JSON
<control>/rollouts/<id>/model/             the models of the new version, as an archive holds them
<control>/rollouts/<id>/alive              touched while `gridline deploy` watches; workers stop without that
<control>/rollouts/<id>/counts/<pid>-<start>.json    what a worker counted: see rollout_counts.py
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROLLOUTS, FOLDERS, MODEL, ALIVE, COUNTS = "rollouts.json", "rollouts", "model", "alive", "counts"
LEASE_S = 60.0
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # the name of a folder, and of no other folder

Kind = Literal["canary", "shadow"]


@dataclass(frozen=True)
class Wanted:
    """A new version beside the one that serves, `base`, whose workers answer both.

    A canary answers the `share` of the requests; a shadow only computes its answers.
    """

    id: str
    kind: Kind
    version: int
    base: int
    share: float

    def folder(self, control: Path) -> Path:
        """Return the folder with its models and counts."""
        return control / FOLDERS / self.id


def wanted(control: Path, collection: str) -> Wanted | None:
    """Return the canary or the shadow of a collection, or None; also None if the file is not one of gridline's."""
    try:
        entry = json.loads((control / ROLLOUTS).read_text()).get(collection)
        return None if entry is None else of_json(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def of_json(entry: Mapping[str, Any]) -> Wanted:
    """Return an entry of rollouts.json. Raises ValueError, KeyError or TypeError if it is none."""
    kind, identifier, share = entry["kind"], str(entry["id"]), float(entry["share"])
    if kind not in ("canary", "shadow") or not ID.fullmatch(identifier) or not 0.0 <= share <= 1.0:
        raise ValueError(f"{entry} is not a canary or a shadow")
    return Wanted(identifier, kind, int(entry["version"]), int(entry["base"]), share)


def is_watched(folder: Path) -> bool:
    """Return whether `gridline deploy` still watches: it touches a file, and would take a canary off."""
    try:
        return time.time() - (folder / ALIVE).stat().st_mtime < LEASE_S
    except OSError:
        return False
