"""Servers that are asked the same in turn, and the lines of a report that compare them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.http_load import Rate, measure

ROUNDS = 6
WARM_UP_S, ROUND_S = 4.0, 4.0
ONE_ROW = '{"instances": [[3.0]]}'
ONE_ROW_OF_MANY = '{"dataset": "DATASET", "instances": [[3.0]]}'


@dataclass(frozen=True)
class Contender:
    """An address, what is asked there, and of how many datasets: DATASET and the headers `named` are one of them."""

    label: str
    url: str
    body: str
    key: str = ""
    num_datasets: int = 0
    named: Sequence[str] = ()

    def measure(self, duration_s: float) -> Rate:
        """Ask it for a while, with 8 connections."""
        return measure(
            self.url, self.key, self.body, num_datasets=self.num_datasets, duration_s=duration_s, named=self.named
        )


@dataclass(frozen=True)
class Line:
    """A line of the report: what was compared with what, the ratio, and what it has to be."""

    work: str
    reference: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    def __str__(self) -> str:
        met = (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )
        limit = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}" if self.at_most else ""
        verdict = ("yes" if met else "NO") if limit else ""
        return f"| {self.work} | {self.reference} | {self.value:.3g} | {limit} | {verdict} | {self.note} |"


def in_turn(
    contenders: list[Contender], rounds: int = ROUNDS, round_s: float = ROUND_S, warm_up_s: float = WARM_UP_S
) -> Mapping[str, list[Rate]]:
    """Return the rates of each contender, round by round, after a round that warms all up."""
    rates: dict[str, list[Rate]] = {contender.label: [] for contender in contenders}
    for contender in contenders:
        contender.measure(warm_up_s)
    for number in range(rounds):
        for contender in contenders if number % 2 else reversed(contenders):
            rates[contender.label].append(contender.measure(round_s))
    return rates


def ratio(rates: Mapping[str, list[Rate]], ours: str, theirs: str, of: Callable[[Rate], float]) -> float:
    """Return the median over the rounds of ours divided by theirs."""
    return statistics.median(of(a) / of(b) for a, b in zip(rates[ours], rates[theirs], strict=True))


def median_rate(rates: Mapping[str, list[Rate]], label: str) -> float:
    return statistics.median(rate.requests_per_s for rate in rates[label])


def requests_per_s(rate: Rate) -> float:
    return rate.requests_per_s


def p99_s(rate: Rate) -> float:
    return rate.p99_s
