"""Progress on standard error: a bar on a terminal, else plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from handler.wording import on_one_line
from jobs.cluster.checkpoint_stream import Told
from jobs.monitoring.watch import Watch

Measure = Callable[[int, int], None]
Show = Callable[..., None]  # the finished amount, a line of text, and what it says as fields
Write = Callable[[str, Mapping[str, Any]], None]
LINE_EVERY_S = 60.0


class Counting:
    """Counts finished items; of tasks that run it is told how far they are."""

    def __init__(self, what: str, total: int, show: Show) -> None:
        self._what, self._total, self._show = what, total, show
        self._started = time.monotonic()
        self._done = 0
        self._running: dict[str, Told] = {}
        self._num_rows: dict[str, int] = {}

    def __call__(self, name: str) -> None:
        """Count an item."""
        self._done += 1
        left_s = self._left_s(self._done)
        line = f"{self._done} of {self._total} {self._what} (last: {name}), {left_s:.0f} s left"
        self._show(self._done, line, done=self._done, total=self._total, left_s=round(left_s))

    def told(self, key: str, told: Told) -> None:
        """Show how far the running tasks are: epochs, rows a second of all tasks, and the time that is left."""
        self._running[key] = told
        self._num_rows[key] = told.num_rows
        done = min(self._done + sum(each.done for each in self._running.values()), self._total)
        left_s = self._left_s(done)
        rate = sum(self._num_rows.values()) / max(time.monotonic() - self._started, 1e-9)
        epoch = f"epoch {told.epoch} of {told.epochs} of {key}"
        line = f"{self._done} of {self._total} {self._what}, {epoch}, {rate:.0f} rows/s, {left_s:.0f} s left"
        fields = {"epoch": told.epoch, "epochs": told.epochs, "rows_per_s": round(rate), "left_s": round(left_s)}
        self._show(done, line, done=self._done, total=self._total, **fields)

    def ended(self, key: str) -> None:
        """Forget a task that has ended: its items are counted."""
        self._running.pop(key, None)

    def _left_s(self, done: float) -> float:
        elapsed_s = time.monotonic() - self._started
        return elapsed_s / done * (self._total - done) if done > 0 else 0.0


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

    def begin(self, run_id: str) -> None:
        """Say of which run the rest is."""
        self.watch.run_id = run_id
        self.on_run(run_id)

    def say(self, text: str, **fields: Any) -> None:
        """Tell one line; `fields` are what it says, for programs."""
        if self.quiet:
            return
        if self.write is not None:
            self.write(text, fields)
        else:
            print(f"gridline: {on_one_line(text)}", file=self.stream, flush=True)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Counting]:
        """Count to a total: call what is yielded with the name of each finished item."""
        with self._showing(what, total) as show:
            yield Counting(what, total, show)

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
                fields = {"rows": done_rows, "bytes": done_bytes, "left_s": round(left_s)}
                show(done_bytes, f"{what}: {done_rows} rows, {mib}, {rate}, {left_s:.0f} s left", **fields)

            yield measure

    @contextmanager
    def _showing(self, what: str, total: int) -> Iterator[Show]:
        """Yield a function that shows the finished amount, and a line of text."""
        if self.quiet:
            yield lambda at, line, **fields: None
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
            yield lambda at, line, **fields: bar.update(task, completed=at, description=line)

    def _lines(self, total: int) -> Show:
        """Return a function that prints a line every few seconds, and the last line."""
        said = time.monotonic()

        def show(at: float, line: str, **fields: Any) -> None:
            nonlocal said
            if at >= total or time.monotonic() - said >= LINE_EVERY_S:
                said = time.monotonic()
                self.say(line, **fields)

        return show
