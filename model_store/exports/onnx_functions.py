"""Functions that ONNX lacks, as nodes of a graph: log1p, expm1, log10, is finite, and the parts of dates."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from handler.rows.date_parts import CYCLES, ROUNDING_S, SECONDS_A_DAY, THURSDAY, DatePart
from handler.rows.transforms import TargetTransform, Transform
from model_store.exports.onnx_graph import Graph

MARCH_1_OF_YEAR_0 = 719_468  # days before 1970-01-01
DAYS_OF_400_YEARS = 146_097


def is_finite(graph: Graph, number: str) -> str:
    """Return where a number is neither NaN nor infinite."""
    return graph.add("Not", graph.add("Or", graph.add("IsNaN", number), graph.add("IsInf", number)))


def transformed(graph: Graph, transform: Transform | None, number: str) -> str:
    """Return the transform of a feature."""
    if transform is None:
        return number
    if transform == "sqrt":
        return graph.add("Sqrt", number)
    if transform == "log1p":
        return _log1p(graph, number)
    log = graph.add("Log", number)
    return log if transform == "log" else graph.add("Div", log, math.log(10.0))


def raw_target(graph: Graph, transform: TargetTransform | None, prediction: str) -> str:
    """Return predictions in units of the target."""
    if transform is None:
        return prediction
    return graph.add("Exp", prediction) if transform == "log" else _expm1(graph, prediction)


def _log1p(graph: Graph, number: str) -> str:
    """Return log(1 + x) with all digits: x log(u) / (u - 1) with u = 1 + x as rounded, and x where u is 1.

    Source: Goldberg, What Every Computer Scientist Should Know About Floating-Point Arithmetic, theorem 4.
    """
    u = graph.add("Add", number, 1.0)
    beyond = graph.add("Sub", u, 1.0)
    is_one = graph.add("Equal", beyond, 0.0)
    divisor = graph.add("Where", is_one, 1.0, beyond)
    return graph.add("Where", is_one, number, graph.add("Mul", graph.add("Log", u), graph.add("Div", number, divisor)))


def _expm1(graph: Graph, number: str) -> str:
    """Return exp(x) - 1 with all digits: (u - 1) x / log(u) with u = exp(x) as rounded where x is near 0, else u - 1.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, 1.14.1.
    """
    u = graph.add("Exp", number)
    beyond = graph.add("Sub", u, 1.0)
    is_one = graph.add("Equal", beyond, 0.0)
    is_near = graph.add("Less", graph.add("Abs", number), 0.5)
    divides = graph.add("And", is_near, graph.add("Not", is_one))
    divisor = graph.add("Where", divides, graph.add("Log", u), 1.0)
    accurate = graph.add("Mul", beyond, graph.add("Div", number, divisor))
    return graph.add("Where", is_near, graph.add("Where", is_one, number, accurate), beyond)


class Dates:
    """The parts of dates, which are days since 1970-01-01 UTC, as whole numbers; each is computed once."""

    def __init__(self, graph: Graph, days: str) -> None:
        self._graph, self._days = graph, days
        self._day = graph.add("Floor", graph.add("Add", days, ROUNDING_S / SECONDS_A_DAY))
        self._found: dict[DatePart, str] = {}

    def part(self, part: DatePart) -> str:
        """Return a part as float64: see `handler.rows.date_parts.part_of`."""
        if part not in self._found:
            if part == "hour":
                self._found[part] = self._hour()
            elif part == "weekday":
                self._found[part] = self._plus(self._rest(self._plus(self._day, THURSDAY), 7), 1)
            else:
                self._found["year"], self._found["month"] = self._year_and_month()
        return self._found[part]

    def whole(self, part: DatePart) -> str:
        """Return a part as int64."""
        return self._graph.add("Cast", self.part(part), to=TensorProto.INT64)

    def circle(self, part: DatePart, function: str) -> str:
        """Return the sine ("sin") or cosine ("cos") of a part's place in its cycle."""
        first, length = CYCLES[part]
        angle = 2 * np.pi * np.arange(length) / length
        values = np.sin(angle) if function == "sin" else np.cos(angle)
        return self._graph.add("Gather", values, self._graph.add("Sub", self.whole(part), first))

    def _hour(self) -> str:
        graph = self._graph
        second = self._plus(self._times(graph.add("Sub", self._days, self._day), SECONDS_A_DAY), ROUNDING_S)
        return graph.add("Max", graph.add("Min", self._quotient(second, 3600), 23.0), 0.0)

    def _year_and_month(self) -> tuple[str, str]:
        """Return year and month, of days counted from March, so that a leap day is the last of its year.

        Source: Hinnant, chrono-Compatible Low-Level Date Algorithms, civil_from_days.
        """
        graph = self._graph
        day = self._plus(self._day, MARCH_1_OF_YEAR_0)
        era = self._quotient(day, DAYS_OF_400_YEARS)
        of_era = graph.add("Sub", day, self._times(era, DAYS_OF_400_YEARS))
        leaps = graph.add("Sub", self._quotient(of_era, 36_524), self._quotient(of_era, 1460))
        leaps = graph.add("Sub", leaps, self._quotient(of_era, DAYS_OF_400_YEARS - 1))
        year_of_era = self._quotient(graph.add("Add", of_era, leaps), 365)
        before = graph.add("Sub", self._quotient(year_of_era, 4), self._quotient(year_of_era, 100))
        of_year = graph.add("Sub", of_era, graph.add("Add", self._times(year_of_era, 365), before))
        from_march = self._quotient(self._plus(self._times(of_year, 5), 2), 153)
        is_early = graph.add("Less", from_march, 10.0)
        month = graph.add("Where", is_early, self._plus(from_march, 3), self._plus(from_march, -9))
        year = graph.add("Add", year_of_era, self._times(era, 400))
        return graph.add("Where", graph.add("Less", month, 3.0), self._plus(year, 1), year), month

    def _plus(self, number: str, addend: float) -> str:
        return self._graph.add("Add", number, float(addend))

    def _times(self, number: str, factor: float) -> str:
        return self._graph.add("Mul", number, float(factor))

    def _quotient(self, number: str, divisor: int) -> str:
        """Return the quotient, rounded down."""
        return self._graph.add("Floor", self._graph.add("Div", number, float(divisor)))

    def _rest(self, number: str, divisor: int) -> str:
        return self._graph.add("Sub", number, self._times(self._quotient(number, divisor), divisor))
