"""The tables that verbs print for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.fleet.outcome import FleetOutcome
from jobs.fleet.plan import FleetPlan
from jobs.plan import Plan
from jobs.reporting import DatasetOutcome, JobOutcome, trial_document

MAX_REASONS = 20


def print_outcome(console: Console, outcome: JobOutcome) -> None:
    """Print the grid of each dataset with its champion, then what was committed."""
    for dataset in outcome.datasets:
        _print_dataset(console, dataset)
    for fleet in outcome.fleets:
        _print_fleet(console, fleet)
    if outcome.committed:
        console.print(f"committed {outcome.collection} version {outcome.version} (run {outcome.run_id})")
    else:
        console.print(f"nothing to commit (run {outcome.run_id})")


def _print_fleet(console: Console, fleet: FleetOutcome) -> None:
    unhealthy = len(fleet.failures) + len(fleet.unconverged)
    console.print(
        f"{fleet.name}: {fleet.num_trained} datasets trained, {fleet.num_promoted} promoted, "
        f"{unhealthy} without a model"
    )
    for name, reason in sorted({**fleet.failures, **fleet.unconverged}.items())[:MAX_REASONS]:
        console.print(f"{fleet.name}: {name}: {reason}", markup=False)
    if unhealthy > MAX_REASONS:
        console.print(f"{fleet.name}: and {unhealthy - MAX_REASONS} more: see --json")


def _print_dataset(console: Console, outcome: DatasetOutcome) -> None:
    if outcome.trained is not None:
        points = range(outcome.trained.hyperparameters.num_points)
        trials = [trial_document(outcome.trained, point) for point in points]
        console.print(_grid(outcome.name, trials, outcome.challenger.point if outcome.challenger else None))
    if outcome.reason is not None:
        console.print(f"{outcome.name}: {outcome.status}: {outcome.reason}")
    if outcome.challenger is None or outcome.trained is None:
        return
    best = trial_document(outcome.trained, outcome.challenger.point)
    model = ", ".join(f"{name} {value:.6g}" for name, value in best["coefficients"].items())
    rate = best["learning_rate"]
    why = f" ({outcome.comparison.reason})" if outcome.comparison else ""
    console.print(
        f"{outcome.name}: best at learning rate {rate:g}: {model}; R² {best['r2']:.6f}; {outcome.status}{why}"
    )
    if outcome.verification is not None:
        weights = outcome.verification["max_weight_difference"]
        predictions = outcome.verification["max_prediction_difference"]
        console.print(
            f"{outcome.name}: verified by the plain loop: weights differ by {weights:.1e} at most, "
            f"predictions by {predictions:.1e}"
        )


def _grid(name: str, trials: Iterable[Mapping[str, Any]], best: int | None) -> Table:
    trials = list(trials)
    others = [key for key in trials[0] if key in ("momentum", "nesterov", "weight_decay", "huber_delta", "quantile")]
    has_validation = any(trial["val_mse"] is not None for trial in trials)
    table = Table(title=name, title_justify="left")
    for heading in (
        "learning rate",
        *others,
        "status",
        "epoch",
        "MSE",
        *(["validation MSE"] if has_validation else []),
    ):
        table.add_column(heading, justify="left" if heading == "status" else "right")
    table.add_column("R²", justify="right")
    table.add_column("")
    for number, trial in enumerate(trials):
        diverged = trial["status"] == "diverged"
        status = f"diverged at epoch {trial['diverged_at']}" if diverged else trial["status"].replace("_", " ")
        errors = [_number(trial["train_mse"], "{:.6g}")]
        if has_validation:
            errors.append(_number(trial["val_mse"], "{:.6g}"))
        table.add_row(
            f"{trial['learning_rate']:.6g}",
            *(str(trial.get(key, "")) for key in others),
            status,
            _number(trial["epoch"], "{}"),
            *errors,
            _number(trial["r2"], "{:.6f}"),
            "best" if number == best else "",
        )
    return table


def _number(value: float | None, pattern: str) -> str:
    return "" if value is None else pattern.format(value)


def print_plan(console: Console, plan: Plan) -> None:
    """Print the engine, the blocks, and the certificate of each dataset."""
    console.print(f"{plan.collection}: {plan.recipe.reason}")
    for block in plan.blocks:
        console.print(f"block: {', '.join(block)}")
    for fleet in plan.fleets:
        _print_fleet_plan(console, fleet)
    for certificate in plan.certificates:
        table = Table(title=f"{certificate.dataset} ({certificate.num_rows} rows)", title_justify="left")
        table.add_column("learning rate", justify="right")
        table.add_column(f"over {certificate.epochs} epochs")
        for verdict in certificate.verdicts:
            table.add_row(f"{verdict.learning_rate:.6g}", verdict.text(certificate.epochs))
        console.print(
            f"{certificate.dataset}: λmin {certificate.eigenvalue_min:.6g}, λmax {certificate.eigenvalue_max:.6g}, "
            f"condition number {certificate.condition_number:.4g}, stability limit {certificate.stability_limit:.6g}, "
            f"best rate {certificate.best_rate:.6g}"
        )
        console.print(table)
        if certificate.advice is not None:
            console.print(f"{certificate.dataset}: {certificate.advice}")


def _print_fleet_plan(console: Console, fleet: FleetPlan) -> None:
    console.print(f"{fleet.name}: {fleet.num_groups} datasets, {len(fleet.failures)} that can't be trained")
    for what in ("num_rows", "stability_limit", "condition_number"):
        spread = getattr(fleet, what)
        if spread is not None:
            least, median, greatest = (f"{value:.6g}" for value in spread)
            console.print(f"{fleet.name}: {what.replace('_', ' ')} {least} to {greatest}, median {median}")
    for name, reason in sorted(fleet.failures.items())[:MAX_REASONS]:
        console.print(f"{fleet.name}: {name}: {reason}", markup=False)
