"""The options of a canary and a shadow: text → how a new version is tried."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.cli.output import emit
from jobs.errors import UsageError

if TYPE_CHECKING:
    from model_store.deployment.canary import Judgement, Tryout

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class TryoutOptions:
    """The options as they were given; None and False where they were not."""

    canary: str | None
    shadow: bool
    promote: bool
    for_: str | None
    requests: int | None
    max_error_rate: float | None
    max_distance: str | None

    @property
    def kind(self) -> str | None:
        """The option that asks for a tryout, or None."""
        return "--canary" if self.canary is not None else "--shadow" if self.shadow else None

    @property
    def only_compares(self) -> bool:
        """Whether nothing is deployed."""
        return self.shadow and not self.promote

    def tryout(self, *, follow: bool) -> Tryout | None:
        """Return how a new version is tried, or None. Raises UsageError for options that do not go together."""
        from model_store.deployment.canary import Limits, Tryout

        self._check(follow=follow)
        if self.kind is None:
            return None
        limits = Limits(
            None if self.requests is not None else seconds_of(self.for_ or "10m"),
            self.requests,
            0.01 if self.max_error_rate is None else self.max_error_rate,
            distance_of(self.max_distance or "3"),
        )
        share = 0.0 if self.canary is None else share_of(self.canary)
        return Tryout("shadow" if self.shadow else "canary", share, limits, is_first_deployed=follow)

    def _check(self, *, follow: bool) -> None:
        if self.canary is not None and self.shadow:
            raise UsageError("--canary and --shadow exclude each other: give one of them")
        if self.for_ is not None and self.requests is not None:
            raise UsageError("--for and --requests exclude each other: give one of them")
        if self.promote and not self.shadow:
            raise UsageError("--promote is for --shadow: a canary that stays within its limits is always promoted")
        if follow and self.only_compares:
            raise UsageError("--follow deploys: add --promote to --shadow")
        limits = {
            "--for": self.for_,
            "--requests": self.requests,
            "--max-error-rate": self.max_error_rate,
            "--max-distance": self.max_distance,
        }
        given = [option for option, value in limits.items() if value is not None]
        if given and self.kind is None:
            raise UsageError(f"{given[0]} is for --canary and --shadow: add one of them")


def share_of(text: str) -> float:
    """Return a share of the requests, of "5%" or "0.05". Raises UsageError."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if not 0.0 < share <= 1.0:
        raise UsageError(f"--canary is {text!r}: give a share of the requests, such as 5%")
    return share


def seconds_of(text: str) -> float:
    """Return a time of "90s", "10m" or "2h" in seconds. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None:
        raise UsageError(f"--for is {text!r}: give a time such as 90s, 10m or 2h")
    return float(found[1]) * SECONDS[found[2]]


def distance_of(text: str) -> float | None:
    """Return a distance in standard deviations; None for "none". Raises UsageError."""
    if text == "none":
        return None
    try:
        distance = float(text)
    except ValueError:
        distance = math.nan
    if not distance >= 0.0:
        raise UsageError(
            f"--max-distance is {text!r}: give a number of residual standard deviations such as 3, or none"
        )
    return distance


def print_judgement(judgement: Judgement, *, as_json: bool) -> None:
    """Print what came of a shadow."""
    document: dict[str, Any] = judgement.document()
    emit(document, summary(judgement), as_json=as_json)


def summary(judgement: Judgement) -> str:
    """Return what came of a canary or a shadow, in one line."""
    counts = judgement.counts
    distance = "no prediction was compared"
    if counts.num_rows:
        distance = (
            f"{counts.num_rows} predictions of {counts.compared} requests moved by {counts.distance_mean:.3g} residual "
            f"standard deviations on average and by {counts.distance_max:.3g} at most ({counts.distance_dataset})"
        )
    return (
        f"version {judgement.version} beside version {judgement.base} of {judgement.collection}: {counts.tried} of "
        f"{counts.requests} requests, {counts.errors} errors; {distance}"
    )
