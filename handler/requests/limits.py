"""What one request may cost: the bounds of its parts, and the checks that are made before the cost is paid.

Each bound keeps one request below a second of a worker and 200 MB beside the models.
"""

from __future__ import annotations

import re

from ..errors import PayloadError

MAX_INSTANCES = 100_000
MAX_VALUES = 2_000_000  # instances times features, as they are sent
MAX_CONTAINERS = 1_200_000  # lists of a JSON text; an object counts as three
CONTAINERS_OF_OBJECT = 3  # Python takes 88 bytes for a short list, and 240 for a small object

FEWER = "send fewer instances at a time"
SMALL = 65_536  # characters: a body below this is within the bounds whatever it says
QUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)  # matches at each quote: its time is linear


def check_instances(num_rows: int) -> None:
    """Raise PayloadError for no instances, or too many."""
    if num_rows == 0:
        raise PayloadError("the request has no instances: send at least one")
    if num_rows > MAX_INSTANCES:
        raise PayloadError(f"the request has {num_rows} instances: send at most {MAX_INSTANCES} at a time")


def check_tensors(num_rows: int, width: int, num_tensors: int) -> None:
    """Raise PayloadError for too many instances, or values in tensors of this size."""
    check_instances(num_rows)
    if num_rows * width * num_tensors > MAX_VALUES:
        raise PayloadError(f"the tensors have more than {MAX_VALUES} values: {FEWER}")


def check_lines(text: str) -> None:
    """Raise PayloadError if a CSV text has so many lines that it must have too many instances; some may be blank."""
    num_lines = text.count("\n")
    if num_lines > 2 * (MAX_INSTANCES + 1):
        raise PayloadError(
            f"the request has {num_lines} lines: send at most {MAX_INSTANCES} instances at a time, and no blank lines"
        )


def check_width(width: int, most_features: int, what: str, unit: str) -> None:
    """Raise PayloadError for more columns than one for each feature of any model, and one for the dataset."""
    if width > most_features + 1:
        raise PayloadError(f"{what} {width} {unit}: give one for each feature, and at most one for the dataset")


def check_containers(text: str) -> None:
    """Raise PayloadError if a JSON text has so many lists and objects that they fill the memory of a worker."""
    if len(text) > SMALL and _num_containers(text) > MAX_CONTAINERS:
        count = _num_containers(QUOTED.sub("", text))
        if count > MAX_CONTAINERS:
            raise PayloadError(
                f"the request has lists and objects for {count}, where an object counts as {CONTAINERS_OF_OBJECT}, and "
                f"{MAX_CONTAINERS} are read at a time: {FEWER}, and each value without a list around it"
            )


def _num_containers(text: str) -> int:
    return text.count("[") + CONTAINERS_OF_OBJECT * text.count("{")
