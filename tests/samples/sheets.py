"""Excel files made by hand: the few parts of the format that a reader needs."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OF_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
OF_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
DAYS = 14  # the number format of dates
EPOCH_DAYS = 25_569  # of 1970-01-01

Cell = str | float | bool | None


def write_sheets(path: Path, sheets: Mapping[str, Sequence[Sequence[Cell]]], dates: Sequence[int] = ()) -> None:
    """Write a workbook; numbers in the columns `dates` (from 0) are shown as days."""
    with zipfile.ZipFile(path, "w") as file:
        names = list(sheets)
        listed = "".join(
            f'<sheet name={quoteattr(name)} sheetId="{at}" r:id="r{at}"/>' for at, name in enumerate(names, 1)
        )
        related = "".join(
            f'<Relationship Id="r{at}" Type="{OF_DOCUMENT}/worksheet" Target="worksheets/sheet{at}.xml"/>'
            for at in range(1, len(names) + 1)
        )
        styles = f'<Relationship Id="s" Type="{OF_DOCUMENT}/styles" Target="styles.xml"/>'
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{OF_PACKAGE}"><Relationship Id="r1" Type="{OF_DOCUMENT}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{OF_DOCUMENT}"><sheets>{listed}</sheets></workbook>'
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{OF_PACKAGE}">{related}{styles}</Relationships>'
        )
        file.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="{DAYS}"/></cellXfs></styleSheet>',
        )
        for at, rows in enumerate(sheets.values(), 1):
            file.writestr(f"xl/worksheets/sheet{at}.xml", _sheet(rows, dates))


def _sheet(rows: Sequence[Sequence[Cell]], dates: Sequence[int]) -> str:
    lines = "".join(
        f'<row r="{number}">'
        + "".join(_cell(f"{chr(65 + at)}{number}", cell, at in dates) for at, cell in enumerate(row))
        + "</row>"
        for number, row in enumerate(rows, 1)
    )
    return f'<worksheet xmlns="{MAIN}"><sheetData>{lines}</sheetData></worksheet>'


def _cell(place: str, cell: Cell, is_date: bool) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return f'<c r="{place}" t="b"><v>{int(cell)}</v></c>'
    if isinstance(cell, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
    return f'<c r="{place}" s="{int(is_date)}"><v>{cell!r}</v></c>'
