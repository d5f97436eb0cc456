"""Files as people have them: the options of pandas, and what is found without them; always the same rows."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.config import DatasetConfig
from jobs.errors import DataError
from jobs.sources.dataset import Dataset, read_dataset
from jobs.sources.job_datasets import resolve_source
from model_store.objects.s3_settings import S3Settings

ROWS = [(2.5, 0.25, 7.5), (3.5, 2.0, 1001.5), (1.0, 4.75, -3.25), (0.5, 3.0, 12.0), (1.25, 2.5, 8.0)]


def read(folder: Path, source: str = "t.csv", **keys: Any) -> Dataset:
    config = {"name": "d", "source": source, "target": "y", "features": ["a", "b"], **keys}
    return read_dataset(resolve_source(DatasetConfig.model_validate(config), folder, S3Settings()), bias=True)


def refusal(folder: Path, source: str = "t.csv", **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, source, **keys)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix("dataset 'd': ").replace(f"{folder}/", "")


def table(
    delimiter: str = ",",
    header: tuple[str, ...] | None = ("a", "b", "y"),
    write: Callable[[float], str] = str,
    rest: str = "",
    end: str = "\n",
) -> str:
    """Return the rows as text; `rest` stands at the end of each."""
    lines = [] if header is None else [delimiter.join(header)]
    lines += [delimiter.join(map(write, row)) + rest for row in ROWS]
    return end.join([*lines, ""])


def in_german(value: float) -> str:
    return f"{value:,}".replace(",", "'").replace(".", ",").replace("'", ".")


def in_words(value: float) -> str:
    return f'"{value:,}"'


PLAIN = table()
FILES: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    "plain": (PLAIN, {}),
    "semicolon by itself": (table(";"), {}),
    "tab by itself": (table("\t"), {}),
    "bar by itself": (table("|"), {}),
    "comma in a header of semicolons": (table(";", ("a", "b", "y", "size, m2"), rest=";1"), {}),
    "delimiter that is said": (table("^"), {"delimiter": "^"}),
    "sep line": ("sep=;\n" + table(";"), {}),
    "quoted sep line and an odd delimiter": ('"sep=^"\r\n' + table("^", end="\r\n"), {}),
    "decimal comma": (table(";", write=lambda value: str(value).replace(".", ",")), {"decimal": ","}),
    "thousands in quotes": (table(write=in_words), {"thousands": ","}),
    "thousands and decimal": (table(";", write=in_german), {"thousands": ".", "decimal": ","}),
    "thousands by narrow blanks": (
        table(";", write=lambda value: f"{value:,}".replace(",", "\u202f")),
        {"thousands": " "},
    ),
    "comment lines": ("# made 2024\n" + PLAIN.replace("\n", "\n#x,y\n"), {"comment": "#"}),
    "comments at the end of lines": (table(rest=' # odd, and "so on"'), {"comment": "#"}),
    "comment sign in quotes": (table(header=("a", "b", "y", "n"), rest=',"#1"'), {"comment": "#"}),
    "lines above": ("Report,,\nof,2024,\n\n" + PLAIN, {"skiprows": 3}),
    "lines above by header": ("Report,,\nof,2024,\n\n" + PLAIN, {"header": 2}),
    "lines above and units": ("Report\na,b,y\nm,kg,EUR\n" + table(header=None), {"skiprows": [0, 2]}),
    "units": (PLAIN.replace("y\n", "y\nm,kg,EUR\n"), {"skiprows": [1]}),
    "total": (PLAIN + "sum,,99\n", {"skipfooter": 1}),
    "total and note": (PLAIN + "sum,,99\n(c) someone\n", {"skipfooter": 2}),
    "no header": (table(header=None), {"names": ["a", "b", "y"]}),
    "no header, said twice": (table(header=None), {"names": ["a", "b", "y"], "header": "none"}),
    "other names": (table(header=("u", "v", "w")), {"names": ["a", "b", "y"], "header": 0}),
    "no header and lines above": ("x\n\n" + table(header=None), {"names": ["a", "b", "y"], "skiprows": 1}),
    "single quotes": (table(header=("a", "b", "y", "n"), rest=",'x, y'"), {"quotechar": "'"}),
    "utf-16": (table(header=("a", "b", "y", "ü"), rest=",ö").encode("utf-16"), {}),
    "utf-16 of the other order": (b"\xfe\xff" + PLAIN.encode("utf-16-be"), {}),
    "utf-16 without a mark": (PLAIN.encode("utf-16-le"), {"encoding": "utf-16-le"}),
    "utf-8 with a mark": (b"\xef\xbb\xbf" + PLAIN.encode(), {}),
    "utf-8 with a mark, said": (b"\xef\xbb\xbf" + PLAIN.encode(), {"encoding": "utf-8"}),
    "cp1252": (table(header=("a", "b", "y", "ü"), rest=",€").encode("cp1252"), {"encoding": "cp1252"}),
    "bytes of an unused column": (table(header=("a", "b", "y", "ü"), rest=",ö").encode("cp1252"), {}),
    "trailing delimiter": (table(rest=","), {}),
    "two trailing delimiters": (table(rest=",,"), {}),
    "trailing delimiter of some rows": (PLAIN.replace("7.5\n", "7.5,\n"), {}),
    "trailing delimiter of the header": (PLAIN.replace("y\n", "y,\n"), {}),
    "empty columns of Excel": (table(header=("a", "b", "y", "", ""), rest=",,"), {}),
    "duplicate names": (table(header=("a", "b", "y", "n", "n", "n"), rest=",1,2,3"), {}),
    "blanks around names": (table(header=("a", " b", "y ")), {}),
    "quoted names after blanks": (table(header=('"a"', ' "b"', ' "y"')), {}),
    "line ends within names": (table(header=("a", '"b\n"', '"y"')), {}),
    "blanks around numbers": (table(write=lambda value: f" {value} "), {}),
    "quoted numbers": (table(write=lambda value: f'"{value}"'), {}),
    "names of rows": (
        "a b y\n" + "".join(f"r{at} {a} {b} {y}\n" for at, (a, b, y) in enumerate(ROWS)),
        {"delimiter": " "},
    ),
    "numbers of rows": ("a,b,y\n" + "".join(f'"{at + 1}",{a},{b},{y}\n' for at, (a, b, y) in enumerate(ROWS)), {}),
    "CR": (table(end="\r"), {}),
    "CRLF and blank lines": (table(end="\r\n\r\n"), {}),
    "lines of blanks": (PLAIN.replace("\n", "\n  \t \n"), {}),
    "inch in the header": (table(header=("a", "b", "y", 'width (")'), rest=",1"), {}),
    "inch in some cells": (table(header=("a", "b", "y", "n"), rest=',24"').replace('24"', "none", 2), {}),
    "inch at the start of cells": (table(header=("a", "b", "y", "n"), rest=',"5"" nail"'), {}),
    "line end in the first cell": ("n," + PLAIN.replace("\n", '\n"two\nlines",')[: -len('"two\nlines",')], {}),
    "line end in the last cell": (table(header=("a", "b", "y", "n"), rest=',"two, or\nthree, lines"'), {}),
}


@pytest.mark.parametrize("case", FILES)
def test_reading_gives_the_rows_of_every_file(case: str, tmp_path: Path) -> None:
    content, keys = FILES[case]
    (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    dataset = read(tmp_path, **keys)
    assert np.column_stack([dataset.x_nd, dataset.y_n]).tolist() == [list(row) for row in ROWS]


@pytest.mark.parametrize(
    ("ending", "compress"),
    [
        ("gz", gzip.compress),
        ("GZ", lambda data: gzip.compress(data[:30]) + gzip.compress(data[30:])),
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("zst", lambda data: pa.Codec("zstd").compress(data, asbytes=True)),
    ],
)
def test_reading_compressed_files_by_their_names(
    ending: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    packed = compress(PLAIN.encode())
    (tmp_path / f"t.csv.{ending}").write_bytes(packed)
    assert read(tmp_path, f"t.csv.{ending}").num_rows == len(ROWS)
    (tmp_path / f"t.csv.{ending}").write_bytes(packed[: len(packed) // 2])
    assert f"t.csv.{ending}: the file" in refusal(tmp_path, f"t.csv.{ending}")


def test_reading_compressed_files_by_the_option(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(gzip.compress(PLAIN.encode()))
    assert refusal(tmp_path) == "t.csv: the file is compressed: set 'compression: gzip'"
    assert read(tmp_path, compression="gzip").num_rows == len(ROWS)


@pytest.mark.parametrize("mark", ["-", "?", ".", "\\N", "#DIV/0!", "<NA>", " NA ", "-999", "-999.0", "gone"])
def test_reading_missing_values(mark: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PLAIN.replace("3.5,", f"{mark},"))
    features = [{"name": "a", "missing": "mean"}, "b"]
    for na_values in (["gone", -999], {"a": ["gone", -999], "b": "x"}):
        dataset = read(tmp_path, features=features, na_values=na_values)
        assert dataset.x_nd[:, 0].tolist() == [2.5, 1.3125, 1.0, 0.5, 1.25]
    if "9" in mark or mark == "gone":
        assert "gone" not in mark or "set 'na_values: [\"gone\"]'" in refusal(tmp_path, features=features)
        assert "t.csv:3: column 'a'" in refusal(tmp_path, features=["a", "b"], na_values={"a": ["gone", -999]})


def test_reading_marks_of_one_column_are_none_of_another(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PLAIN.replace("3.5,", "x,"))
    assert "t.csv:3: column 'a': 'x' is not a number" in refusal(tmp_path, na_values={"b": ["x"]})


def test_reading_levels_are_trimmed_and_keep_what_is_no_mark_of_text(tmp_path: Path) -> None:
    cells = ["n", "n ", " NA", '"-"', "007"]
    rows = PLAIN.splitlines()
    (tmp_path / "t.csv").write_text("\n".join([rows[0] + ",g", *map(",".join, zip(rows[1:], cells, strict=True))]))
    features = [{"name": "g", "kind": "categorical"}]
    assert read(tmp_path, features=features).card.features[0].levels == ("-", "007", "NA", "n")
    assert "t.csv:4: column 'g': ' NA' is missing" in refusal(tmp_path, features=features, na_values="NA")


TRUTHS = {"yes": 1.0, "No": 0.0, "TRUE": 1.0, "false": 0.0, "1": 1.0}


def test_reading_truths_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{word},{at},{at * at}\n" for at, word in enumerate(TRUTHS)))
    assert read(tmp_path).x_nd[:, 0].tolist() == list(TRUTHS.values())


def test_reading_a_truth_among_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PLAIN.replace("3.5,", "no,"))
    message = refusal(tmp_path)
    assert message.startswith("t.csv:3: column 'a': 'no' is among numbers: set 'na_values: [\"no\"]' if it stands for")


STRAY = PLAIN.replace("y\n", "y,n\n").replace("5\n", "5,n\n").replace("0\n", "0,n\n")
LINES = STRAY.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("first", "last", "line"),
    [(1, 2, 2), (2, 4, 3), (1, 5, 2), (3, 5, 4)],
)
def test_reading_a_stray_quote_swallows_no_row(first: int, last: int, line: int, tmp_path: Path) -> None:
    lines = list(LINES)
    lines[first] = lines[first].replace("n\n", '"n\n')
    lines[last] = lines[last].replace("n\n", 'n"\n')
    (tmp_path / "t.csv").write_text("".join(lines))
    message = refusal(tmp_path)
    assert message.startswith(f"t.csv:{line}: a quote is opened and swallows line {line + 1}, which is a row")
    assert read(tmp_path, quotechar="~").num_rows == len(ROWS)


@pytest.mark.parametrize("line", range(1, 6))
def test_reading_a_quote_that_is_never_closed_is_refused(line: int, tmp_path: Path) -> None:
    lines = list(LINES)
    lines[line] = lines[line].replace("n\n", '"n\n')
    for ends in ("\n", ""):
        (tmp_path / "t.csv").write_text("".join(lines).removesuffix("\n") + ends)
        assert refusal(tmp_path).startswith(f"t.csv:{line + 1}: a quote is opened and ")


REMEDIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "decimal comma": (FILES["decimal comma"][0], "'decimal: \",\"'", {"decimal": ","}),  # type: ignore[dict-item]
    "thousands": (FILES["thousands in quotes"][0], "'thousands: \",\"'", {"thousands": ","}),  # type: ignore[dict-item]
    "both": (
        table(";", write=in_german),
        "'decimal: \",\"' and 'thousands: \".\"'",
        {"decimal": ",", "thousands": "."},
    ),
    "units": (PLAIN.replace("y\n", "y\nm,kg,EUR\n"), "'skiprows: [1]'", {"skiprows": [1]}),
    "units below lines": ("r\n" + PLAIN.replace("y\n", "y\nm,kg,EUR\n"), "'skiprows: 1'", {"skiprows": [0, 2]}),
    "total": (PLAIN + "all,,99\n", "'skipfooter: 1'", {"skipfooter": 1}),
    "lines above": ("Report\n\n" + PLAIN, "'skiprows: 2'", {"skiprows": 2}),
    "comment": ("# of 2024\n" + PLAIN, "'comment: \"#\"'", {"comment": "#"}),
    "no header": (table(header=None), "set 'names' to a list of 3 names", {"names": ["a", "b", "y"]}),
    "encoding of a header": (
        table(header=("a", "b", "y")).replace("a,", "ä,"),
        "'encoding: cp1252'",
        {"encoding": "cp1252", "features": ["ä", "b"]},
    ),
}


@pytest.mark.parametrize("case", REMEDIES)
def test_reading_remedies_work(case: str, tmp_path: Path) -> None:
    content, remedy, keys = REMEDIES[case]
    (tmp_path / "t.csv").write_text(content, encoding="cp1252")
    message = refusal(tmp_path, **({"features": keys["features"]} if "features" in keys else {}))
    assert remedy in message
    assert "categorical" not in message
    assert read(tmp_path, **keys).num_rows == len(ROWS)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("$3", "write it without '$'"),
        ("3%", "write it without '%'"),
        ("x", "correct it, or set 'na_values: [\"x\"]' if it stands for a missing value"),
    ],
)
def test_reading_one_odd_cell_among_numbers_is_never_a_category(cell: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PLAIN.replace("3.5,", f"{cell},"))
    assert refusal(tmp_path) == f"t.csv:3: column 'a': {cell!r} is not a number: {expected}"


@pytest.mark.parametrize(("written", "sign"), [("${}", "$"), ("{} %", "%"), ("€{}", "€")])
def test_reading_numbers_with_a_sign_are_no_categories(written: str, sign: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(table(write=written.format))
    assert refusal(tmp_path).endswith(f"is not a number: write the column without {sign!r}")


def test_reading_a_column_of_words_may_be_a_category(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(table(write=lambda value: f"w{value}" if value != int(value) else str(value)))
    assert "or set 'kind: categorical' for a feature of categories" in refusal(tmp_path)


def test_reading_a_total_far_into_the_file_keeps_its_line(tmp_path: Path) -> None:
    rows = "".join(f"{at},{at % 7},{at % 5}\n" for at in range(40_000))
    (tmp_path / "t.csv").write_text(f"a,b,y\n{rows}all,,9\n")
    assert refusal(tmp_path).startswith("t.csv:40002: column 'a': 'all' is not a number: set 'skipfooter: 1'")
    assert read(tmp_path, skipfooter=1).num_rows == 40_000


@pytest.mark.parametrize(("first", "last"), [("7.5", "yes"), ("yes", "7.5")])
@pytest.mark.parametrize("between", [0, 1_000_000])  # a block of ones alone is truths or numbers
def test_reading_truths_and_numbers_far_from_each_other_is_refused(
    first: str, last: str, between: int, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n" + f"{first},1,2\n" + "1,1,2\n" * between + f"{last},1,2\n")
    line = 2 if first == "yes" else between + 3
    remedy = "set 'na_values: [\"yes\"]' if it stands for a missing value, or correct it"
    assert refusal(tmp_path) == f"t.csv:{line}: column 'a': 'yes' is among numbers: {remedy}"


def test_reading_a_quoted_line_end_far_into_the_file(tmp_path: Path) -> None:
    rows = [f"{at},{at % 7},{at % 5},n\n" for at in range(400_000)]
    rows[300_000] = '1,2,3,"two\nlines"\n'
    (tmp_path / "t.csv").write_text("a,b,y,n\n" + "".join(rows))
    dataset = read(tmp_path)
    assert dataset.num_rows == 400_000
    rows[350_000] = "x,2,3,n\n"
    (tmp_path / "t.csv").write_text("a,b,y,n\n" + "".join(rows))
    assert refusal(tmp_path).startswith("t.csv:350003: column 'a': 'x'")
