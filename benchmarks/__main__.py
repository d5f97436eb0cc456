"""`python -m benchmarks [NAME…]`: the project side by side with what a user would pick instead.

A benchmark is a module of this package with a `main()`; without names, each is run in turn.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import benchmarks

NAMES = ("grid", "fleet", "scan", "serving", "store", "ddp", "gpu")


def main(wanted: list[str]) -> int:
    """Run the benchmarks that are wanted, or all; return the exit code."""
    there = {module.name for module in pkgutil.iter_modules(benchmarks.__path__)}
    names = [name for name in NAMES if name in there]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        sys.stderr.write(f"no benchmark is called {unknown[0]!r}: choose from {', '.join(names)}\n")
        return 2
    for name in wanted or names:
        print(f"\n## {name}\n", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
