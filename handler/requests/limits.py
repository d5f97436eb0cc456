"""What one request may cost: the bounds of its parts, and the checks that are made before the cost is paid.

Each bound keeps one request below a second of a worker and 200 MB beside the models; docs/security.md has all of them.
"""

from __future__ import annotations

import re

from ..errors import PayloadError
from ..wording import shown

MAX_INSTANCES = 100_000
MAX_VALUES = 2_000_000  # instances times features, as they are sent
MAX_ENCODED = 4_000_000  # instances times encoded columns, which the levels of categories multiply
MAX_CARDS = 5_000  # models with other features that one request may mix
MAX_QUANTILES = 2_000  # of Student's t, one for each number of training rows
MAX_PRODUCTS = 2_000_000_000  # multiplications for intervals: instances times encoded columns squared
MAX_ANSWER_BYTES = 20_000_000  # as it is bounded before it is computed; TorchServe itself sends 64 MiB
MAX_CONTAINERS = 1_200_000  # lists of a JSON text; an object counts as three
MAX_IGNORED = 1_000  # names that are no features
MAX_COMPARISONS = 2_000  # of a name that is ignored with a feature that is absent
MAX_INFLATED_BYTES = 6_553_500  # as TorchServe's default of max_request_size, which bounds other bodies
MAX_GZIP_MEMBERS = 128  # each copies the rest; bgzip writes one for 64 KiB
CONTAINERS_OF_OBJECT = 3  # Python takes 88 bytes for a short list, and 240 for a small object

FEWER = "send fewer instances at a time"
SMALL = 65_536  # characters: a body below this is within the bounds whatever it says
QUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)  # matches at each quote: its time is linear


def check_instances(num_rows: int) -> None:
    """Raise PayloadError for no instances, or too many."""
    if num_rows == 0:
        raise PayloadError("the request has no instances: send at least one")
    if num_rows > MAX_INSTANCES:
        raise PayloadError(f"the request has {shown(num_rows)} instances: send at most {MAX_INSTANCES} at a time")


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
        raise PayloadError(f"{what} {shown(width)} {unit}: give one for each feature, and at most one for the dataset")


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


def check_sizes(num_rows: int, num_values: int, num_encoded: int) -> None:
    """Raise PayloadError if the values of all instances, or what they are encoded to, are too many for one request."""
    for number, most, what in ((num_values, MAX_VALUES, "values"), (num_encoded, MAX_ENCODED, "encoded columns")):
        if number > most:
            raise PayloadError(
                f"the request has {num_rows} instances with {number} {what} in all, and {most} are taken at a time: "
                f"send at most {max(1, num_rows * most // number)} instances at a time"
            )


def check_cards(num_cards: int) -> None:
    """Raise PayloadError if a request mixes the datasets of too many model cards."""
    if num_cards > MAX_CARDS:
        raise PayloadError(
            f"the request mixes datasets with {num_cards} different lists of features: send those of at most "
            f"{MAX_CARDS} lists at a time"
        )


def check_interval(num_rows: int, num_products: int, num_quantiles: int) -> None:
    """Raise PayloadError if intervals take too many products with matrices, or quantiles of Student's t."""
    if num_quantiles > MAX_QUANTILES:
        raise PayloadError(
            f"the intervals are of models with {num_quantiles} different numbers of training rows: send instances of "
            f"at most {MAX_QUANTILES} datasets at a time, or leave 'interval' out"
        )
    if num_products > MAX_PRODUCTS:
        raise PayloadError(
            f"the intervals of {num_rows} instances take {num_products} multiplications, and {MAX_PRODUCTS} are made "
            f"at a time: send at most {max(1, num_rows * MAX_PRODUCTS // num_products)} instances at a time, or leave "
            "'interval' out"
        )


def check_answer(num_rows: int, size_bytes: int) -> None:
    """Raise PayloadError if an answer may have `size_bytes`, which is too large to be computed and sent."""
    if size_bytes > MAX_ANSWER_BYTES:
        raise PayloadError(
            f"the answer to {num_rows} instances may have {size_bytes} bytes, and {MAX_ANSWER_BYTES} are sent at a "
            f"time: send at most {max(1, num_rows * MAX_ANSWER_BYTES // size_bytes)} instances at a time, or leave out "
            "what is asked for beside the predictions"
        )
