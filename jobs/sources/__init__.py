"""Data: files to fragments, fragments to columns, columns to datasets that can be regressed on."""

from .columns import Columns, Fragment, Text, Wanted
from .dataset import Dataset, encode_columns, features_of, fragments_of, naming, read_dataset, wanted_columns
from .fitting import Fit, Seen, fit, merge, see
from .fragments import find_fragments
from .pruning import prune
from .reading import iterate, prefetched, read_columns
from .row_keys import row_keys

__all__ = [
    "Columns",
    "Dataset",
    "Fit",
    "Fragment",
    "Seen",
    "Text",
    "Wanted",
    "encode_columns",
    "features_of",
    "find_fragments",
    "fit",
    "fragments_of",
    "iterate",
    "merge",
    "naming",
    "prefetched",
    "prune",
    "read_columns",
    "read_dataset",
    "row_keys",
    "see",
    "wanted_columns",
]
