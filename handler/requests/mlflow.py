"""Read the bodies of MLflow's scoring server: `dataframe_split`, `dataframe_records`, and `inputs` without tensors.

Options stand in `params`, as MLflow names them. Source: mlflow.org, "Deploy MLflow Model as a Local Inference Server".
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import PayloadError
from ..wording import kind, shown
from .instances import Instances, Rows, Table
from .limits import check_tensors, check_width
from .options import OPTIONS, most_columns, options_of, query_of, refuse_unknown
from .payload import Query, Request

SPLIT, RECORDS, INPUTS = "dataframe_split", "dataframe_records", "inputs"
PARAMS = "params"


def read(document: Mapping[str, object], request: Request, most_features: int) -> Query:
    """Return the query of a document with one of these keys. Raises PayloadError if it is none."""
    form = next(name for name in (SPLIT, RECORDS, INPUTS) if name in document)
    parameters = document.get(PARAMS)
    options = {**(parameters if isinstance(parameters, dict) else {}), **document}
    instances = READERS[form](document[form], most_columns(most_features, options, request))
    refuse_unknown(document, OPTIONS | {form, PARAMS})
    return query_of(instances, "instances", options_of(document, PARAMS), document, request)


def _split(value: object, most_features: int) -> Instances:
    """Return the instances of `{"columns": [name, …], "data": [[…], …]}`; `index` tells nothing."""
    if not isinstance(value, dict):
        raise PayloadError(f"'{SPLIT}' is {kind(value)}: give an object of 'columns' and 'data'")
    refuse_unknown(value, frozenset({"columns", "data", "index"}))
    data, columns = value.get("data"), value.get("columns")
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise PayloadError(f"'data' of '{SPLIT}' is not a list of lists: give one list for each instance")
    if columns is None or not data:
        return Rows(data)
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise PayloadError(
            f"'columns' of '{SPLIT}' is not a list of names: name the columns of the DataFrame as the features, or "
            "leave 'columns' out and give the values in feature order"
        )
    check_width(len(columns), most_features, f"'{SPLIT}' has", "columns")
    if len(set(columns)) != len(columns):
        raise PayloadError(f"'columns' of '{SPLIT}' repeats a name: give each column once")
    row = next((row for row, values in enumerate(data) if len(values) != len(columns)), None)
    if row is not None:
        raise PayloadError(f"instance {row} has {len(data[row])} values, and 'columns' has {len(columns)} names")
    return Table(tuple(columns), tuple(zip(*data, strict=True)), len(data))


def _records(value: object, most_features: int) -> Instances:
    if not isinstance(value, list):
        raise PayloadError(f"'{RECORDS}' is {kind(value)}: give a list, with one object for each instance")
    return Rows(value)


def _inputs(value: object, most_features: int) -> Instances:
    """Return the instances of a list of rows, or of an object of columns."""
    if isinstance(value, list) and value and isinstance(value[0], (list, dict)):
        return Rows(value)
    if not isinstance(value, dict) or not value:
        raise PayloadError(
            "'inputs' is not a list of tensors: give a list of {name, shape, datatype, data}, or of rows, or an "
            "object of columns"
        )
    check_width(len(value), most_features, "'inputs' has", "columns")
    columns = {name: column if isinstance(column, list) else [column] for name, column in value.items()}
    (first, num_rows), *others = ((name, len(column)) for name, column in columns.items())
    unlike = next(((name, length) for name, length in others if length != num_rows), None)
    if unlike is not None:
        raise PayloadError(
            f"'inputs' has {num_rows} values for {shown(first)}, and {unlike[1]} for {shown(unlike[0])}: give each "
            "column one value for each instance"
        )
    check_tensors(num_rows, 1, len(columns))
    return Table(tuple(columns), tuple(columns.values()), num_rows)


READERS = {SPLIT: _split, RECORDS: _records, INPUTS: _inputs}
