"""Watching a canary or a shadow, and judging it: by errors, and by how far the predictions of two versions differ."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from handler.hosting.rollout_counts import RolloutCounts, sum_of
from handler.hosting.rollout_files import Kind, Wanted
from model_store.deployment.control import Control
from model_store.deployment.errors import DeploymentError, ServerError
from model_store.deployment.following import deploy_alone, prepared
from model_store.deployment.holds import held, hold
from model_store.deployment.rollout import Deployment, Target, serves
from model_store.deployment.rollout_folder import counts_of, rolled_out, watch
from model_store.ledger.ledger import Ledger
from model_store.ledger.versions import Version

POLL_S = 0.2
BEGIN_TIMEOUT_S = 60.0
SILENCE_S = 30.0  # of the management API, before a canary is taken off
LATE_S = 10.0  # in which the workers compare what waits at the end
LEAST_TRIED = 100  # requests, before a rate of errors ends a canary early


@dataclass(frozen=True)
class Limits:
    """How long a new version is watched, by time or by the number of requests that it was given, and what it may do.

    `max_distance` is in residual standard deviations of the old model; None: any.
    """

    for_s: float | None = 600.0
    num_requests: int | None = None
    max_error_rate: float = 0.01
    max_distance: float | None = 3.0

    def is_over(self, elapsed_s: float, counts: RolloutCounts) -> bool:
        """Return whether it was watched long enough."""
        if self.num_requests is not None:
            return counts.tried >= self.num_requests
        return self.for_s is not None and elapsed_s >= self.for_s


@dataclass(frozen=True)
class Judgement:
    """What came of a canary or a shadow; `reason` says why the new version is not good enough, or is None."""

    collection: str
    kind: Kind
    version: int
    base: int
    counts: RolloutCounts
    reason: str | None

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "collection": self.collection,
            "kind": self.kind,
            "version": self.version,
            "base": self.base,
            **figures(self.counts),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Tryout:
    """A new version that is tried beside the one that serves before it is deployed, or only to compare them."""

    kind: Kind
    share: float
    limits: Limits
    tell: Callable[[Judgement], None] = lambda judgement: None
    is_first_deployed: bool = False  # a version with which none can be compared

    def compare(self, ledger: Ledger, version: Version, target: Target) -> Judgement:
        """Return what comes of the new version while no other process deploys. Raises ServerError and StoreError."""
        default = target.server.default_version(version.collection)
        if default is None:
            raise DeploymentError(
                f"no version of '{version.collection}' serves that version {version.number} could be compared with: "
                f"deploy it without --{self.kind}"
            )
        if target.control is None:
            raise DeploymentError("a canary needs the folder of the server: give its Control")
        with (
            prepared(ledger, version, target.control.folder) as (archive, _),
            rolled_out(target.control, archive, int(default), self.kind, self.share) as what,
        ):
            _wait_for_workers(target, target.control, version.collection, what)
            counts, reason = _watch(target, target.control, version.collection, what, self.limits)
        return Judgement(version.collection, self.kind, version.number, what.base, counts, reason)

    def deploy(self, ledger: Ledger, version: Version, target: Target) -> Deployment:
        """Deploy a version if it is good enough. Raises DeploymentError if not: --follow leaves it aside then."""
        collection = version.collection
        is_first = target.server.default_version(collection) is None
        if serves(target, collection, version.number) or (is_first and self.is_first_deployed):
            return deploy_alone(ledger, version, target)
        judgement = self.compare(ledger, version, target)
        self.tell(judgement)
        if judgement.reason is None:
            return deploy_alone(ledger, version, target)
        reason = f"the {self.kind} of version {version.number} was taken off: {judgement.reason}"
        assert target.control is not None  # noqa: S101 - compared
        kept = held(target.control, collection)
        if kept is None or kept.rejected is not None:
            hold(target.control, collection, judgement.base, reason, rejected=version.number)
        raise DeploymentError(f"{reason}; version {judgement.base} of '{collection}' serves as before")


def figures(counts: RolloutCounts) -> dict[str, Any]:
    """Return counts as JSON, with their rates and quantiles."""
    return {
        "requests": counts.requests,
        "tried": counts.tried,
        "errors": counts.errors,
        "error_rate": counts.error_rate,
        "error": counts.error,
        "compared": counts.compared,
        "rows": counts.num_rows,
        "rows_without_deviation": counts.unscaled,
        "distance": {
            "mean": counts.distance_mean,
            **{f"p{percent}": counts.quantile(percent / 100) for percent in (50, 90, 99)},
            "max": counts.distance_max,
            "dataset": counts.distance_dataset,
        },
    }


def _wait_for_workers(target: Target, control: Control, collection: str, what: Wanted) -> None:
    """Wait until every worker of the old version has opened the new one. Raises DeploymentError."""
    deadline = time.monotonic() + BEGIN_TIMEOUT_S
    while True:
        watch(control, what)
        counts = counts_of(control, what)
        _refuse_problem(counts, what)
        ready = {one.pid for one in counts}
        missing = {one.pid for one in target.server.describe(collection, str(what.base)).workers} - ready
        if ready and not missing:
            return
        if time.monotonic() > deadline:
            raise DeploymentError(
                f"the workers of version {what.base} do not read {control.folder}: start the server by "
                "'gridline serve', and give --token-file in its folder"
            )
        time.sleep(POLL_S)


def _refuse_problem(counts: list[RolloutCounts], what: Wanted) -> None:
    problem = sum_of(counts).problem
    if problem is not None:
        raise DeploymentError(f"the workers of version {what.base} can't open version {what.version}: {problem}")


def _watch(
    target: Target, control: Control, collection: str, what: Wanted, limits: Limits
) -> tuple[RolloutCounts, str | None]:
    """Return the counts, and why the new version is not good enough, or None."""
    started = heard = time.monotonic()
    over_at: float | None = None
    while True:
        watch(control, what)
        now, counts = time.monotonic(), sum_of(counts_of(control, what))
        if over_at is None and limits.is_over(now - started, counts):
            over_at = now
        is_late = over_at is not None and (counts.compared > 0 or now - over_at > LATE_S)
        reason = counts.problem or problem_of(counts, limits, is_over=is_late)
        if reason is not None or is_late:
            return counts, reason
        try:
            default = target.server.default_version(collection)
            heard = now
        except ServerError as exc:
            if now - heard > SILENCE_S:
                return counts, str(exc)
        else:
            if default != str(what.base):
                return counts, f"version {default} became the default meanwhile"
        time.sleep(POLL_S)


def problem_of(counts: RolloutCounts, limits: Limits, *, is_over: bool) -> str | None:
    """Return why a new version is not good enough, or None; `is_over` at the end, when too little is a reason too."""
    if limits.max_distance is not None:
        if counts.distance_max > limits.max_distance:
            return (
                f"a prediction of dataset {counts.distance_dataset!r} moved by {counts.distance_max:.3g} residual "
                f"standard deviations, and {limits.max_distance:g} are allowed"
            )
        if counts.unscaled:
            return (
                f"predictions of dataset {counts.unscaled_dataset!r} moved, and it has no residual standard deviation: "
                "set --max-distance none to judge by errors alone"
            )
    if (is_over or counts.tried >= LEAST_TRIED) and counts.error_rate > limits.max_error_rate:
        return (
            f"{counts.errors} of {counts.tried} requests ({counts.error_rate:.2%}) were refused only by it, and "
            f"{limits.max_error_rate:.2%} are allowed; the last: {counts.error}"
        )
    if is_over and not counts.tried:
        return "no request came for it"
    if is_over and not counts.compared and limits.max_distance is not None:
        return "no prediction could be compared"
    return None
