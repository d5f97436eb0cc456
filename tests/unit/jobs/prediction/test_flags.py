"""The options of `predict --input` are the keys by which a dataset says how it is read."""

from __future__ import annotations

import pytest

from jobs.cli.reading_flags import HELP
from jobs.config import ReadingConfig
from jobs.errors import UsageError
from jobs.prediction.flags import reading_of
from jobs.sources.read_options import DEFAULTS


def test_flags_are_the_keys_of_a_dataset() -> None:
    assert set(HELP) == set(ReadingConfig.model_fields)


def test_flags_are_read_as_the_configuration_reads_its_keys() -> None:
    assert reading_of({}).options == DEFAULTS
    found = reading_of(
        {
            "format": "csv",
            "delimiter": "\\t",
            "decimal": ",",
            "encoding": "cp1252",
            "na_values": ["x", "[]"],
            "skiprows": "[0, 2]",
            "names": ["[a, b]"],
        }
    )
    assert found.format == "csv"
    options = found.options
    assert (options.delimiter, options.decimal, options.encoding) == ("\t", ",", "cp1252")
    assert (options.na_values, options.skiprows, options.names) == (("x", "[]"), (0, 2), ("a", "b"))
    assert reading_of({"na_values": ["{a: [x, 1]}"]}).options.na_values_of == (("a", ("x", "1")),)
    assert reading_of({"skiprows": "3", "sheet_name": "2"}).options.skiprows == 3
    assert reading_of({"skiprows": "3", "sheet_name": "data"}).options.sheet_name == "data"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"decimal": ",,"}, "--decimal: ',,' is not one character"),
        ({"format": "doc"}, "--format: 'doc' is not one of its values"),
        ({"skiprows": "x"}, "--skiprows: 'x' is neither a number of lines nor a list"),
        ({"encoding": "klingon"}, "--encoding: 'klingon' is not"),
        ({"names": ["[a"]}, "--names: '[a' is neither a list nor a mapping"),
        ({"header": "none"}, "--header: 'none' says that no row has the names"),
        ({"sheet_name": "-1", "na_values": ["{a: {b: c}}"]}, "--na-values"),
    ],
)
def test_flags_that_are_wrong_are_refused(flags: dict[str, str | list[str]], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        reading_of(flags)
    assert message in str(caught.value)
