"""Progress on standard error: a bar on a terminal, else plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from handler.wording import on_one_line
from jobs.monitoring.watch import Watch

Advance = Callable[[str], None]
Measure = Callable[[int, int], None]
Show = Callable[[int, str], None]
Write = Callable[[str, Mapping[str, Any]], None]
LINE_EVERY_S = 60.0


@dataclass
class Progress:
    """Tell the progress of a job; with `quiet`, tell nothing. `watch` has it in numbers.

    Lines are given to `write` with their fields, where it is set, else printed. `on_run` gets the run id.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False
    watch: Watch = field(default_factory=Watch)
    write: Write | None = None
    on_run: Callable[[str], None] = lambda run_id: None

    def say(self, text: str, **fields: Any) -> None:
        """Tell one line; `fields` are what it says, for programs."""
        if self.quiet:
            return
        if self.write is not None:
            self.write(text, fields)
        else:
            print(f"gridline: {on_one_line(text)}", file=self.stream, flush=True)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Advance]:
        """Count to a total: call the yielded function with the name of each finished item."""
        done = 0
        started = time.monotonic()
        with self._showing(what, total) as show:

            def advance(name: str) -> None:
                nonlocal done
                done += 1
                left_s = (time.monotonic() - started) / done * (total - done)
                show(done, f"{done} of {total} {what} (last: {name}), {left_s:.0f} s left")

            yield advance

    @contextmanager
    def measuring(self, what: str, total_bytes: int) -> Iterator[Measure]:
        """Count bytes to a total, and rows: call the yielded function with the bytes and rows of each finished item."""
        done_bytes = done_rows = 0
        started = time.monotonic()
        with self._showing(what, total_bytes) as show:

            def measure(size_bytes: int, num_rows: int) -> None:
                nonlocal done_bytes, done_rows
                self.watch.count("bytes", size_bytes)
                self.watch.count("rows", num_rows)
                done_bytes, done_rows = done_bytes + size_bytes, done_rows + num_rows
                elapsed_s = max(time.monotonic() - started, 1e-9)
                left_s = elapsed_s / max(done_bytes, 1) * (total_bytes - done_bytes)
                mib = f"{done_bytes / 2**20:.1f} of {total_bytes / 2**20:.1f} MiB"
                rate = f"{done_rows / elapsed_s:.0f} rows/s"
                show(done_bytes, f"{what}: {done_rows} rows, {mib}, {rate}, {left_s:.0f} s left")

            yield measure

    @contextmanager
    def _showing(self, what: str, total: int) -> Iterator[Show]:
        """Yield a function that shows the finished amount, and a line of text."""
        if self.quiet:
            yield lambda done, line: None
        elif self.write is None and self.stream.isatty():
            with self._bar(what, total) as show:
                yield show
        else:
            yield self._lines(total)

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Show]:
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(file=self.stream), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done, line: bar.update(task, completed=done, description=line)

    def _lines(self, total: int) -> Show:
        """Return a function that prints a line every few seconds, and the last line."""
        said = time.monotonic()

        def show(done: int, line: str) -> None:
            nonlocal said
            if done >= total or time.monotonic() - said >= LINE_EVERY_S:
                said = time.monotonic()
                self.say(line)

        return show
