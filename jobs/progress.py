"""Progress on standard error: a bar on a terminal, plain lines elsewhere. Nothing of it goes to standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

Advance = Callable[[str], None]
LINE_EVERY_S = 5.0


@dataclass
class Progress:
    """Says what a job is doing; `quiet` says nothing."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False

    def say(self, text: str) -> None:
        """Print one line."""
        if not self.quiet:
            print(f"gridline: {text}", file=self.stream, flush=True)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Advance]:
        """Count to a total: call what is given with the name of each thing done."""
        if self.quiet:
            yield lambda _: None
        elif self.stream.isatty():
            with self._bar(what, total) as advance:
                yield advance
        else:
            yield self._lines(what, total)

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(file=self.stream), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda _: bar.advance(task)

    def _lines(self, what: str, total: int) -> Advance:
        done = 0
        started = said = time.monotonic()

        def advance(name: str) -> None:
            nonlocal done, said
            done += 1
            now = time.monotonic()
            if done == total or now - said >= LINE_EVERY_S:
                said = now
                left_s = (now - started) / done * (total - done)
                self.say(f"{done} of {total} {what} (last: {name}), {left_s:.0f} s left")

        return advance
