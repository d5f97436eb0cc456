"""Csv files of a folder, and the verbs of the command line over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.cli import main


class Tables:
    """Files of a folder, and verbs over all of them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / f"{name}.csv").write_text(text)

    def write_good(self, *names: str, keys: str = "") -> None:
        rows = [f"{n},{n * n % 7},{2 * n + 1 + n % 3},{keys[n % len(keys)] if keys else ''}" for n in range(24)]
        self.write(**dict.fromkeys(names, "a,b,y,key\n" + "\n".join(rows) + "\n"))

    def job(self, *names: str, datasets: tuple[dict[str, Any], ...] = (), **training: Any) -> dict[str, Any]:
        listed = [{"name": n, "source": f"{n}.csv", "target": "y", "features": ["a", "b"]} for n in names]
        more = [{"target": "y", "features": ["a", "b"], **each} for each in datasets]
        return {
            "name": "t",
            "datasets": [*listed, *more],
            "grid": {"learning_rate": [0.001]},
            "training": {"epochs": 5, "engine": "closed_form", **training},
        }

    def run(self, verb: str, job: dict[str, Any], *options: str) -> tuple[int, str, list[str]]:
        """Return exit code, standard output, and the lines of standard error."""
        path = self.folder / "job.yaml"
        path.write_text(yaml.safe_dump(job))
        store = ["--store", str(self.folder / "store")] if verb == "train" else []
        with pytest.raises(SystemExit) as ended:
            main([verb, str(path), *store, *options])
        assert isinstance(ended.value.code, int)
        printed = self._capsys.readouterr()
        return ended.value.code, printed.out, printed.err.splitlines()
