"""The verbs that keep a store whole, and not larger than it has to be: models verify, models repair, gc."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.models import models
from jobs.cli.options import CollectionArgument, JsonOption, StoreOption
from jobs.cli.output import emit
from jobs.errors import DONE, PARTIAL_FAILURE
from model_store.errors import StoreError

if TYPE_CHECKING:
    from model_store.ledger.gc import GcReport

CollectionOrAll = Annotated[str | None, typer.Argument(metavar="[COLLECTION]", help="The name of the job.")]


@models.command("verify")
def verify(collection: CollectionArgument, store: StoreOption = None, json: JsonOption = False) -> int:
    """Read every object of a collection, and print the broken ones; exit code 4 if any is broken."""
    from model_store import open_ledger

    problems = open_ledger(store).verify(collection)
    lines = [f"{problem.key}: {problem.reason} (version {problem.version})" for problem in problems]
    document = {"collection": collection, "problems": [asdict(problem) for problem in problems]}
    if lines:
        lines.append(f"'gridline models repair {collection}' mends what can be mended")
    emit(document, "\n".join(lines) or f"{collection} is whole", as_json=json)
    return 4 if problems else 0


@models.command("repair")
def repair(
    collection: CollectionArgument,
    store: StoreOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is to mend; write nothing.")] = False,
    json: JsonOption = False,
) -> int:
    """Go on from what is whole, as a new version; name the rest and what to do. Exit code 4 if anything is left."""
    from model_store import open_ledger

    done = open_ledger(store).repair(collection, dry_run=dry_run)
    lines = [*done.mended]
    if done.committed:
        lines.append(f"{collection} is at version {done.version}")
    elif not done.mended:
        lines.append(f"{collection} is whole" if not done.left else f"nothing of {collection} can be mended")
    lines += [f"left: {left.key}: {left.reason} (version {left.version}): {left.todo}" for left in done.left]
    emit(asdict(done), "\n".join(lines), as_json=json)
    return 4 if done.left else 0


def gc(
    collection: CollectionOrAll = None,
    store: StoreOption = None,
    every: Annotated[bool, typer.Option("--all", help="All collections of the store, one after the other.")] = False,
    keep: Annotated[int, typer.Option("--keep", min=1, help="Number of newest versions that stay whole.")] = 10,
    grace_s: Annotated[
        float | None,
        typer.Option("--grace", min=0, help="Least age of removed objects, seconds; default: minutes to a week."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the objects to remove; remove nothing.")] = False,
    json: JsonOption = False,
) -> int:
    """Remove blobs and run folders that neither a kept version nor a running run needs."""
    from model_store import open_ledger

    if (collection is None) != every:
        raise typer.BadParameter("name a COLLECTION, or give --all, and not both.")
    ledger = open_ledger(store)
    if collection is not None:
        report = ledger.gc(collection, keep, dry_run, grace_s)
        emit(asdict(report), _words(report), as_json=json)
        return 0
    reports, errors = [], []
    for name in ledger.collections():
        try:
            reports.append(ledger.gc(name, keep, dry_run, grace_s))
        except StoreError as exc:
            errors.append({"collection": name, "error": str(exc)})
            print(f"gridline: {name}: {exc}", file=sys.stderr)
    document = {"collections": [asdict(report) for report in reports], "errors": errors}
    emit(document, "\n".join(map(_words, reports)) or "no collection was cleaned", as_json=json)
    return (PARTIAL_FAILURE if reports else StoreError.exit_code) if errors else DONE


def _words(report: GcReport) -> str:
    did = "would remove" if report.dry_run else "removed"
    text = (
        f"{report.collection}: {did} {len(report.removed)} objects ({report.removed_bytes / 2**20:.1f} MiB); "
        f"{report.num_young} are too young, {len(report.live_runs)} runs go on; {did} the folders of "
        f"{len(report.removed_runs)} runs and {report.num_checkpoints} old checkpoints"
    )
    if report.unreadable:
        names = ", ".join(report.unreadable)
        text += f"; what versions of {names} need can't be read, so more stays: 'gridline models repair' each"
    return text
