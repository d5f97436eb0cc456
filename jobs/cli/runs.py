"""The verbs for past runs: runs list, show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from jobs.cli.options import JsonOption, StoreOption
from jobs.cli.output import console, emit_json, number

LIMIT = 100

runs = typer.Typer(help="List the runs of a store, and show what one did.", no_args_is_help=True)


@runs.command("list")
def list_runs(
    store: StoreOption = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many runs, at most.")] = LIMIT,
    json: JsonOption = False,
) -> None:
    """List the newest runs whose folders are in the store, the newest first."""
    from jobs.reports.past_runs import run_documents
    from model_store import open_ledger

    num_runs, documents = run_documents(open_ledger(store), limit)
    if json:
        emit_json({"runs": documents, "num_runs": num_runs})
        return
    from jobs.cli.table_layout import NARROW, table_of

    terminal = console()
    headings = ["run", "collection", "written at", "datasets", "version"]
    rows = [
        [run["run_id"], run["collection"] or "", _time(run["written_at"]), str(run["num_datasets"]), _version(run)]
        for run in documents
    ]
    if terminal.width < NARROW and all(row[0].startswith(row[1]) for row in rows):  # then the id tells the collection
        headings, rows = headings[:1] + headings[2:], [row[:1] + row[2:] for row in rows]
    left = f", the newest {len(rows)} of them (--limit)" if len(rows) < num_runs else ""
    terminal.print(table_of(f"{num_runs} runs{left}", headings, rows, width=terminal.width))


def _time(written_at: str) -> str:
    return written_at.removesuffix("+00:00").replace("T", " ")


def _version(run: Mapping[str, Any]) -> str:
    return number(run["version"], "") + (" unchanged" if run["version"] and not run["committed"] else "")


@runs.command("show")
def show(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The id of a run.")],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show the configuration of a run, its trials, and why it chose the best ones."""
    from jobs.reports.past_runs import run_document
    from model_store import open_ledger

    document = run_document(open_ledger(store), run_id)
    if json:
        emit_json(document)
        return
    _print(document)


def _print(document: dict[str, Any]) -> None:
    import yaml

    from jobs.cli.tables import print_datasets
    from jobs.config import json_schema

    schema, terminal = json_schema(), console()
    said = _said(document["configuration"], schema, schema["$defs"])
    terminal.print(f"run {document['run_id']} of {document['collection']}, {document['written_at']}", markup=False)
    if document["repeats"]:
        terminal.print(f"nothing had changed since run {document['repeats']}, which did this:", markup=False)
    terminal.print(yaml.safe_dump(said, sort_keys=False, allow_unicode=True), markup=False)
    print_datasets(terminal, document["datasets"])
    for groups in document["groups"]:
        counts = f"{groups['num_promoted']} promoted, {groups['num_not_promotable']} without a trial to promote"
        line = f"{groups['name']}: {groups['num_datasets']} datasets, {counts}, {groups['num_failed']} failed"
        terminal.print("; ".join([line, *groups["remedies"]]), markup=False)
    if document["version"] is not None:
        did = "committed" if document["committed"] else "left"
        terminal.print(f"{did} {document['collection']} version {document['version']}", markup=False)


def _said(values: Any, schema: Mapping[str, Any], defined: Mapping[str, Any]) -> Any:
    """Return what a configuration says beside null and the defaults of its JSON Schema."""
    if "$ref" in schema:
        schema = defined[schema["$ref"].rpartition("/")[2]]
    if isinstance(values, list):
        return [_said(each, _part(schema, "items", "array"), defined) for each in values]
    if not isinstance(values, dict):
        return values
    keys = _part(schema, "properties", "object", defined)
    said = {
        key: _said(value, keys.get(key, {}), defined)
        for key, value in values.items()
        if value is not None and value != keys.get(key, {}).get("default")
    }
    return {key: value for key, value in said.items() if value != {}}


def _part(schema: Mapping[str, Any], name: str, kind: str, defined: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the properties or the items of a schema, or of that among its alternatives which has them."""
    alternatives = [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    known = [(defined or {}).get(each.get("$ref", "").rpartition("/")[2], each) for each in alternatives]
    found: dict[str, Any] = next((each[name] for each in known if each.get("type") == kind and name in each), {})
    return found
