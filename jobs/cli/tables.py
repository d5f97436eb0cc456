"""The tables that verbs print for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.champions.documents import left_out_sentences
from jobs.champions.promotion import remedies
from jobs.cli.output import number
from jobs.cli.table_layout import NARROW, table_of
from jobs.engines.hyperparameters import HYPERPARAMETERS
from jobs.groups.outcome import GroupsOutcome
from jobs.groups.plan import GroupsPlan
from jobs.plan import Plan
from jobs.reports.outcome import JobOutcome

MAX_REASONS = 20
MAX_ALIKE = 3  # reasons that one line has summed up
MAX_TABLES = 100
ERRORS = {
    "epochs_to_converge": "epochs to converge",
    "train_loss": "loss",
    "val_loss": "validation loss",
    "train_mse": "MSE",
    "val_mse": "validation MSE",
    "r2": "R²",
}
NEUTRAL = {each.name: each.neutral for each in HYPERPARAMETERS}
FORMS = {"r2": ".6f", "epochs_to_converge": ""}


def print_outcome(console: Console, outcome: JobOutcome) -> None:
    """Print the grid of each dataset with its champion, then the committed version."""
    if outcome.skipped is not None:
        console.print(f"skipped: {outcome.skipped}", markup=False)
        return
    _print_datasets(console, outcome)
    for groups in outcome.fleets:
        _print_groups(console, groups)
    if outcome.committed:
        console.print(f"committed {outcome.collection} version {outcome.version} (run {outcome.run_id})")
    else:
        repeats = f", as in run {outcome.repeats}" if outcome.repeats else ""
        console.print(f"nothing to commit (run {outcome.run_id}{repeats})")


def _print_groups(console: Console, groups: GroupsOutcome) -> None:
    without = len(groups.failures) + len(groups.unconverged)
    console.print(
        f"{groups.name}: {groups.num_trained} datasets trained, {groups.num_promoted} promoted, "
        f"{without} without a model"
    )
    start = f"{groups.name}: "
    if groups.num_withdrawn:
        console.print(f"{start}{groups.num_withdrawn} are kept, because a rollback has withdrawn the new models")
        _print_reasons(console, list(islice(groups.withdrawn(), MAX_ALIKE)), start)
    _print_reasons(console, sorted(groups.failures.items()), start)
    for sentence in left_out_sentences({}, groups.unused):
        console.print(f"{start}{sentence}", markup=False)
    rows = [(name, said) for name, each in sorted(groups.left_out.items()) for said in left_out_sentences(each, {})]
    _print_reasons(console, rows, start, limit=MAX_ALIKE)
    total, warnings = groups.num_trained + len(groups.unconverged), list(groups.warnings())
    for sentences, what in (
        (list(groups.unconverged.values()), "are not promoted"),
        (warnings, "have a model all the same"),
    ):
        if sentences:
            todo = remedies(sentences)
            advice = f": {max(todo, key=lambda text: todo[text])}" if todo else ""
            console.print(f"{start}{len(sentences)} of {total} did not converge, and {what}{advice}", markup=False)
    _print_reasons(console, sorted(groups.unconverged.items()), start, limit=MAX_ALIKE)
    if groups.notes:
        console.print(
            f"{start}{len(groups.notes)} of {total} have columns that depend on others, or nearly", markup=False
        )
        said = [(name, "; ".join(sentences)) for name, sentences in sorted(groups.notes.items())]
        _print_reasons(console, said, start, limit=MAX_ALIKE)


def _print_reasons(
    console: Console, reasons: Sequence[tuple[str, str]], start: str = "", limit: int = MAX_REASONS
) -> None:
    """Print the first reasons with their names, each line after `start`, and the number of the others."""
    for name, reason in reasons[:limit]:
        console.print(f"{start}{name}: {reason}", markup=False)
    if len(reasons) > limit:
        console.print(f"{start}and {len(reasons) - limit} more: see --json", markup=False)


def _print_datasets(console: Console, outcome: JobOutcome) -> None:
    """Print every dataset with its grid; for many datasets only counts and the first reasons."""
    if len(outcome.datasets) + len(outcome.earlier) <= MAX_TABLES:
        print_datasets(console, outcome.listed_documents())
        return
    counts: Counter[str] = Counter()
    reasons = []
    for document in outcome.listed_documents():
        counts[document["status"]] += 1
        if "reason" in document:
            reasons.append((document["dataset"], document["reason"]))
        elif document.get("comparison", {}).get("basis") == "withdrawn":
            reasons.append((document["dataset"], f"kept: {document['comparison']['reason']}"))
    console.print(f"{counts.total()} datasets: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
    _print_reasons(console, reasons)


def print_datasets(console: Console, documents: Iterable[Mapping[str, Any]]) -> None:
    """Print the grid of each dataset, and what was chosen."""
    for document in documents:
        _print_dataset(console, document)


def _print_dataset(console: Console, document: Mapping[str, Any]) -> None:
    name, best, status = document["dataset"], document["best"], document.get("status")
    if document["trials"]:
        scale = f" (errors of {document['target_transform']} of the target)" if "target_transform" in document else ""
        console.print(trials_table(f"{name}{scale}", document["trials"], best, width=console.width))
    if "reason" in document:
        console.print(f"{name}: {status}: {document['reason']}", markup=False)
    left_out = left_out_sentences(document.get("left_out", {}), document.get("columns_left_out", {}))
    for note in (*left_out, *document.get("notes", ())):
        console.print(f"{name}: {note}", markup=False)
    if best is None:
        return
    model = ", ".join(f"{column} {value:.6g}" for column, value in best["coefficients"].items())
    why = f" ({document['comparison']['reason']})" if "comparison" in document else ""
    r2 = number(best["r2"], ".6f")
    place = ", ".join(f"{words(key)} {shown(best, key)}" for key in varying(document["trials"]))
    console.print(f"{name}: best at {place}: {model}; R² {r2}; {status}{why}", markup=False)
    if "choice" in document:
        console.print(f"{name}: chosen: {document['choice']}", markup=False)
    if "warning" in document:
        console.print(f"{name}: warning: {document['warning']}", markup=False)
    if "verification" in document:
        weights = document["verification"]["max_weight_difference"]
        predictions = document["verification"]["max_prediction_difference"]
        console.print(
            f"{name}: verified by the plain loop: weights differ by {weights:.1e} at most, "
            f"predictions by {predictions:.1e}",
            markup=False,
        )


def trials_table(
    name: str, trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None, *, width: int
) -> Table:
    """Return the grid of a dataset: a column for each hyperparameter that varies, and for each error that is known.

    On a narrow terminal it has no frame, and of several errors the one that was trained; numbers stay whole.
    """
    keys = varying(trials)
    errors = {key: heading for key, heading in ERRORS.items() if any(trial.get(key) is not None for trial in trials)}
    if width < NARROW and "train_loss" in errors:
        errors = {key: heading for key, heading in errors.items() if not key.endswith("_mse")}
    rows = [(*_cells(trial, keys, errors), "best" if trial == best else "") for trial in trials]
    return table_of(name, (*map(words, keys), "status", "epoch", *errors.values(), ""), rows, width=width)


def _cells(trial: Mapping[str, Any], keys: Sequence[str], errors: Mapping[str, str]) -> Iterator[str]:
    yield from (shown(trial, key) for key in keys)
    diverged = trial["status"] == "diverged"
    yield f"diverged at epoch {trial['diverged_at']}" if diverged else trial["status"].replace("_", " ")
    yield number(trial["epoch"], "")
    yield from (number(trial.get(key), FORMS.get(key, ".6g")) for key in errors)


def varying(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the learning rate, and the other hyperparameters that differ between trials."""
    others = (each.name for each in HYPERPARAMETERS if len({trial.get(each.name) for trial in trials}) > 1)
    return ["learning_rate", *others]


def words(key: str) -> str:
    """Return the name of a hyperparameter in words."""
    return key.replace("_", " ")


def shown(values: Mapping[str, Any], key: str) -> str:
    """Return a hyperparameter as text; one that a document leaves out is at the value that changes nothing."""
    value = values.get(key, NEUTRAL.get(key))
    return str(value).lower() if isinstance(value, bool) else number(value, ".6g")


def print_plan(console: Console, plan: Plan) -> None:
    """Print the engine, the blocks, and the certificate of each dataset."""
    console.print(f"{plan.collection}: {plan.recipe.reason}")
    for name, reason in plan.failed.items():
        console.print(f"{name}: failed: {reason}", markup=False)
    for block in plan.blocks:
        console.print(f"block: {', '.join(block)}")
    left_out = [
        (name, sentence) for name, rows in plan.all_left_out().items() for sentence in left_out_sentences(rows, {})
    ]
    left_out += [(name, sentence) for name, of in plan.all_unused().items() for sentence in left_out_sentences({}, of)]
    _print_reasons(console, left_out)
    for groups in plan.fleets:
        _print_groups_plan(console, groups)
    for certificate in plan.certificates:
        table = Table(title=f"{certificate.dataset} ({certificate.num_rows} rows)", title_justify="left")
        table.add_column("learning rate", justify="right")
        epochs = f"{certificate.epochs} epochs" if certificate.epochs else "the epochs that each needs"
        table.add_column(f"over {epochs}")
        for verdict in certificate.verdicts:
            table.add_row(f"{verdict.learning_rate:.6g}", verdict.text())
        console.print(
            f"{certificate.dataset}: λmin {certificate.eigenvalue_min:.6g}, λmax {certificate.eigenvalue_max:.6g}, "
            f"condition number {certificate.condition_number:.4g}, stability limit {certificate.stability_limit:.6g}, "
            f"best rate {certificate.best_rate:.6g}"
        )
        console.print(table)
        for sentence in (certificate.advice, *certificate.notes):
            if sentence is not None:
                console.print(f"{certificate.dataset}: {sentence}", markup=False)


def _print_groups_plan(console: Console, groups: GroupsPlan) -> None:
    console.print(f"{groups.name}: {groups.num_groups} datasets, {len(groups.failures)} that can't be trained")
    for measure, spread in groups.spreads.items():
        if spread is not None:
            least, median, greatest = (f"{value:.6g}" for value in spread)
            console.print(f"{groups.name}: {measure.replace('_', ' ')} {least} to {greatest}, median {median}")
    _print_reasons(console, sorted(groups.failures.items()), f"{groups.name}: ")
