"""The README as a script: its commands with the output that it shows, and what of an output may differ each time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"

VOLATILE = (
    (r"\b\d{4}-\d\d-\d\d[T ][\d:.,]+(?:\+00:00)?", "<time>"),
    (r"\b[0-9a-f]{12,}\b", "<hex>"),
    (r"(?<=<hex>)-\d{8}T\d{6}Z\b", ""),  # the start of a run
    (r"raysubmit_\w+", "<job>"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
    (r"\btook \d+ s", "took <seconds> s"),
    (r"(\d\.\d{7})\d+", r"\1"),  # the digits in which processors differ
    (r"e-(?:1[5-9]|[23]\d)\b", "e-<rounding>"),
    (r"\d\.\d(?=e-<rounding>)", "<rounding>"),
    (r"\S*/(?=gridline-serve/)", ""),
    (r"[━─┏┓┡╇┩┳┃│└┴┘ \t]+", " "),  # the width of a table is that of its widest cell
)
ANYTHING = "…"


@dataclass(frozen=True)
class Command:
    """A command of a console block, the output that the README shows for it, and the heading that it stands under."""

    section: str
    text: str
    shown: str


def blocks(language: str, page: Path = README) -> Iterator[tuple[str, str]]:
    """Yield the heading and the text of each block in a language."""
    section = ""
    for match in re.finditer(r"^#+ ([^\n]+)$|^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        if match[1]:
            section = match[1]
        elif match[2] == language:
            yield section, match[3]


def commands(page: Path = README) -> list[Command]:
    """Return the commands of all console blocks, in their order."""
    found = []
    for section, block in blocks("console", page):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            text, _, shown = piece.partition("\n")
            found.append(Command(section, text, shown))
    return found


def normalised(output: str) -> list[str]:
    """Return the lines of an output with what may differ replaced, without blank lines."""
    for pattern, replacement in VOLATILE:
        output = re.sub(pattern, replacement, output)
    return [line.strip() for line in output.splitlines() if line.strip()]


def agrees(shown: str, printed: str) -> bool:
    """Return whether an output is what the README shows; a line `…` stands for any number of lines."""
    pattern = "".join(r"(?:.*\n)*?" if line == ANYTHING else re.escape(line) + r"\n" for line in normalised(shown))
    return re.fullmatch(pattern, "".join(line + "\n" for line in normalised(printed))) is not None
