"""The quantile of Student's t distribution, in plain Python: the handler has no SciPy.

Source: Press et al., Numerical Recipes, 3rd edition, 6.4 (the incomplete beta function by Lentz's continued fraction)
and 6.14 (its relation to Student's t); the ratio of gamma functions from DLMF 5.11.13.
"""

from __future__ import annotations

import math
from functools import lru_cache

TINY = 1e-300
EPSILON = 1e-16
MAX_TERMS = 100_000
MAX_STEPS = 200
LARGE = 50.0


@lru_cache(maxsize=65536)
def two_sided_quantile(level: float, degrees_of_freedom: float) -> float:
    """Return t with P(|T| <= t) = `level`, for 0 < level < 1 and degrees of freedom > 0.

    Newton's method on the tail probability, kept inside a bracket that halves where a step would leave it; the relative
    error of the probability is below 1e-8 up to 10 million degrees of freedom, and below 1e-7 beyond.
    """
    tail = 1.0 - level
    low, high = 0.0, 1.0
    while two_sided_tail(high, degrees_of_freedom) > tail:
        low, high = high, 2.0 * high
    t = 0.5 * (low + high)
    for _ in range(MAX_STEPS):
        excess = two_sided_tail(t, degrees_of_freedom) - tail
        low, high = (t, high) if excess > 0 else (low, t)
        step = t + excess / (2.0 * _density(t, degrees_of_freedom))
        following = step if low < step < high else 0.5 * (low + high)
        if abs(following - t) <= 4.0 * EPSILON * t:
            return following
        t = following
    return t


def two_sided_tail(t: float, degrees_of_freedom: float) -> float:
    """Return P(|T| > t) for t >= 0: the regularised incomplete beta function I_x(ν/2, 1/2) at x = ν / (ν + t²)."""
    a, b = 0.5 * degrees_of_freedom, 0.5
    complement = t * t / (degrees_of_freedom + t * t)  # 1 - x, without cancellation
    x = degrees_of_freedom / (degrees_of_freedom + t * t)
    if complement <= 0.0:
        return 1.0
    log_x = math.log1p(-complement) if complement < 0.5 else math.log(x)
    front = math.exp(_log_inverse_beta(a) + a * log_x + b * math.log(complement))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _continued_fraction(a, b, x) / a
    return 1.0 - front * _continued_fraction(b, a, complement) / b


def _density(t: float, degrees_of_freedom: float) -> float:
    """Return the density of Student's t at `t`."""
    half = 0.5 * degrees_of_freedom
    log_scale = _log_inverse_beta(half) - 0.5 * math.log(degrees_of_freedom)
    return math.exp(log_scale - (half + 0.5) * math.log1p(t * t / degrees_of_freedom))


def _log_inverse_beta(a: float) -> float:
    """Return log(1 / B(a, 1/2)) = log Γ(a + 1/2) − log Γ(a) − log Γ(1/2); where that would cancel, by a series."""
    if a < LARGE:
        return math.lgamma(a + 0.5) - math.lgamma(a) - 0.5 * math.log(math.pi)
    series = -1 / (8 * a) + 1 / (192 * a**3) - 1 / (640 * a**5) + 17 / (14336 * a**7)
    return 0.5 * math.log(a) + series - 0.5 * math.log(math.pi)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by the modified Lentz method."""
    c = 1.0
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for numerator in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + numerator * d)
            c = _away_from_zero(1.0 + numerator / c)
            value *= d * c
        if abs(d * c - 1.0) < EPSILON:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
