"""Roll back to the champions of an old version, and release the models that rollbacks have withdrawn: as proposals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from model_store.errors import NothingWithdrawnError, StoreError
from model_store.ledger.versions import Draft, Version
from model_store.ledger.withdrawals import Withdrawal

if TYPE_CHECKING:
    import pyarrow as pa

NAMED = 3  # datasets that a note names
BLOB_AND_ROW = ["dataset", "checkpoint", "row"]

Propose = Callable[[Version | None], Draft | None]
ReadVersion = Callable[[int], Version]


def rollback_to(old: Version, run_id: str, reason: str, datasets: Collection[str]) -> Propose:
    """Return the proposal of a rollback: nothing if the newest version is the old one, or has its champions.

    Raises UnknownDatasetError if the old version does not have one of the datasets.
    """
    names, why = sorted(set(datasets)), " ".join(reason.split())
    note = f"to version {old.number}{_of(names)}{f': {why}' if why else ''}"

    def propose(head: Version | None) -> Draft | None:
        if head is None or head.number == old.number:
            return None
        table = _with_old_rows(head, old, names) if names else old.table()
        if names and table.equals(head.table()):
            return None
        later = tuple(number for number in range(old.number + 1, head.number + 1) if number not in head.lost)
        withdrawal = Withdrawal(head.number + 1, old.number, later, why, tuple(names))
        return Draft(table, run_id, "rollback", note, (*head.withdrawals, withdrawal))

    return propose


def release(read: ReadVersion, run_id: str, datasets: Collection[str]) -> Propose:
    """Return the proposal of a release: the same champions, with fewer withdrawals. `read` returns a version.

    Raises NothingWithdrawnError.
    """
    names = sorted(set(datasets))

    def propose(head: Version | None) -> Draft | None:
        if head is None:
            return None
        if not head.withdrawals:
            raise _nothing(head, "no model is withdrawn")
        found = set(names) & set(_withdrawn_datasets(read, head, names)) if names else set()
        if missing := sorted(set(names) - found):
            raise _nothing(head, f"no model of dataset {', '.join(map(repr, missing))} is withdrawn")
        left = tuple(filter(None, (each.without(frozenset(names)) for each in head.withdrawals))) if names else ()
        return Draft(head.table(), run_id, "release", _of(names).strip(), left)

    return propose


def _with_old_rows(head: Version, old: Version, datasets: Sequence[str]) -> pa.Table:
    """Return the champions of the newest version, with those of some datasets as the old version has them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = old.rows_of(datasets)
    for name in set(datasets) - set(rows["dataset"].to_pylist()):
        old.find(name)  # raises the error of an unknown dataset
    table = head.table()
    others = table.filter(pc.invert(pc.is_in(table["dataset"], value_set=pa.array(datasets, pa.string()))))
    return pa.concat_tables([others, rows]).sort_by("dataset").combine_chunks()


def _withdrawn_datasets(read: ReadVersion, head: Version, datasets: Sequence[str]) -> Iterator[str]:
    """Yield those of the datasets that have a withdrawn model; all, where a version can't be read to find out."""
    for withdrawal in head.withdrawals:
        concerned = list(filter(withdrawal.concerns, datasets))
        try:
            restored = _models(read(withdrawal.rollback), concerned)
            for number in withdrawal.versions:
                yield from (name for name, *_ in _models(read(number), concerned) - restored)
        except StoreError:
            yield from concerned


def _models(version: Version, datasets: Sequence[str]) -> set[tuple[str, str, int]]:
    """Return the names, checkpoints and rows of the champions of some datasets."""
    rows = version.rows_of(datasets).select(BLOB_AND_ROW)
    return set(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _nothing(head: Version, what: str) -> NothingWithdrawnError:
    return NothingWithdrawnError(
        f"collection '{head.collection}': {what}: 'gridline models history {head.collection}' lists its rollbacks"
    )


def _of(datasets: Sequence[str]) -> str:
    """Return the first datasets, in words; nothing if there are none."""
    more = f" and {len(datasets) - NAMED} more" if len(datasets) > NAMED else ""
    return f" of {', '.join(map(repr, datasets[:NAMED]))}{more}" if datasets else ""
