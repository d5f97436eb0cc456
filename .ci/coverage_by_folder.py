"""Print the statements and branches that were measured, and the share of both that was run, of each folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import PurePath

COLUMNS = ("num_statements", "num_branches", "covered_lines", "covered_branches")


def main() -> None:
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "--fail-under=0", "-o", "-"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    folders: dict[str, Counter[str]] = {}
    for file, measured in report["files"].items():
        summary = {name: measured["summary"][name] for name in COLUMNS}
        folders.setdefault(str(PurePath(file).parent), Counter()).update(summary)
    print(f"{'folder':<28} {'lines':>6} {'branches':>8} {'run':>7}")
    for folder, sums in sorted(folders.items()):
        print(line(folder, sums))
    print(line("all", sum(folders.values(), Counter())))


def line(folder: str, sums: Counter[str]) -> str:
    run = (sums["covered_lines"] + sums["covered_branches"]) / max(1, sums["num_statements"] + sums["num_branches"])
    return f"{folder:<28} {sums['num_statements']:>6} {sums['num_branches']:>8} {run:>7.1%}"


if __name__ == "__main__":
    main()
