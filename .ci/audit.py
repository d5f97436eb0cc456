"""Look the pinned packages up among known vulnerabilities: `make audit`. Fails for one that has some.

Without a service that knows them (no network, or an index that only mirrors files) it says that nothing was looked up,
and does not fail: a gate without a network would else never pass.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

AUDIT = "pip-audit"
ARGUMENTS = ("--requirement", "requirements.lock", "--no-deps", "--disable-pip", "--format", "json")
QUIET = ("--progress-spinner", "off", "--timeout", "15")


def main(tools: Path) -> int:
    """Run the audit with the tools of this folder; return the exit code."""
    done = subprocess.run([tools / AUDIT, *ARGUMENTS, *QUIET], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(f"audit: nothing was looked up: {_last_line(done.stderr)}; run it again with a network")
        return 0
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    if len(unknown) == len(packages):
        print("audit: nothing was looked up: the index has no list of vulnerabilities; run it again with PyPI's own")
        return 0
    if unknown:
        print(f"audit: not looked up, as the index does not know them: {', '.join(unknown)}")
    found = [(one, problem) for one in packages for problem in one.get("vulns", ())]
    for one, problem in found:
        fixed = ", ".join(problem["fix_versions"]) or "no version yet"
        print(f"audit: {one['name']} {one['version']}: {problem['id']}, mended in {fixed}")
    print(f"audit: {len(packages) - len(unknown)} packages, {len(found)} known vulnerabilities")
    return 1 if found else 0


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "it said nothing"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
