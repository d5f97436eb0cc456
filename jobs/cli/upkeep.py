"""The verbs that keep a store whole, and not larger than it has to be: models verify, models repair, gc."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from jobs.cli.models import models
from jobs.cli.options import CollectionArgument, JsonOption, StoreOption
from jobs.cli.output import emit


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
    collection: CollectionArgument,
    store: StoreOption = None,
    keep: Annotated[int, typer.Option("--keep", min=1, help="Number of newest versions that stay whole.")] = 10,
    grace_s: Annotated[
        float | None,
        typer.Option("--grace", min=0, help="Least age of removed objects, seconds; default: minutes to a week."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the objects to remove; remove nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove blobs and run folders that neither a kept version nor a running run needs."""
    from model_store import open_ledger

    report = open_ledger(store).gc(collection, keep, dry_run, grace_s)
    did = "would remove" if dry_run else "removed"
    text = (
        f"{collection}: {did} {len(report.removed)} objects ({report.removed_bytes / 2**20:.1f} MiB); "
        f"{report.num_young} are too young, {len(report.live_runs)} runs go on; {did} the folders of "
        f"{len(report.removed_runs)} runs and {report.num_checkpoints} old checkpoints"
    )
    emit(asdict(report), text, as_json=json)
