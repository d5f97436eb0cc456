"""The certificate: the analysis of a dataset and its grid before training.

The Hessian's spectrum gives the stability limit of gradient descent and the best rate. For full-batch gradient descent,
the closed form gives whether each grid point converges, the remaining gap, or the epoch at which it diverges.

Shapes: m datasets · g grid points · p weights.
Source: Nocedal & Wright, Numerical Optimization, 3.3; Goh, Why Momentum Really Works (2017).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from jobs.engines.closed_form.convergence import epochs_needed, gap_after, last_epochs
from jobs.engines.closed_form.descent import Descent, prepare
from jobs.engines.closed_form.divergence import divergence_epoch
from jobs.engines.closed_form.least_squares import trusted_digits
from jobs.engines.closed_form.spectrum import Spectrum, spectrum
from jobs.engines.curves import converged_by_gap
from jobs.engines.hyperparameters import Hyperparameters
from jobs.engines.moments import Moments
from jobs.engines.optimizers import OPTIMIZERS
from jobs.engines.scaling import feature_scaling, scaled
from jobs.engines.settings import TrainingSettings

NUM_AUTOMATIC_RATES = 12
HOPELESS = 1e8  # times slower than the fastest direction: a billion epochs are too few
Outlook = Literal["converges", "diverges", "not converged", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """The forecast for a grid point.

    `gap` is the root mean square distance of the predictions after the last epoch, `epochs`, from the limit, by the
    target's deviation. `diverges_at` is the epoch whose loss is infinite in float32. `epochs_needed` is the number of
    epochs that closes the gap; None if it is more than 1e9.
    """

    learning_rate: float
    outlook: Outlook
    epochs: int | None = None
    gap: float | None = None
    diverges_at: int | None = None
    epochs_needed: int | None = None

    def text(self) -> str:
        """Return the verdict in words."""
        if self.outlook == "diverges":
            return f"diverges at epoch {self.diverges_at}"
        if self.outlook == "unknown":
            return "not known before training: only full-batch sgd on mse has a closed form"
        if self.outlook == "converges":
            return f"converges (gap {self.gap:.1e} after {self.epochs} epochs)"
        needed = f"; {self.epochs_needed} epochs would do" if self.epochs_needed else ""
        return f"not converged (gap {self.gap:.1e} after {self.epochs} epochs{needed})"


@dataclass(frozen=True)
class Certificate:
    """λmin, λmax, their ratio, the stability limit 2/λmax, the best rate 2/(λmax + λmin); a verdict for each point.

    `condition_number_normalized` is the condition number with the features scaled to mean 0 and variance 1. `digits` is
    the number of digits that can be trusted in every weight of least squares; None if the data determine no weight.
    `epochs` is None where each grid point has its own.
    """

    dataset: str
    num_rows: int
    eigenvalue_min: float
    eigenvalue_max: float
    condition_number: float
    condition_number_normalized: float
    stability_limit: float
    best_rate: float
    epochs: int | None
    verdicts: tuple[Verdict, ...]
    digits: float | None = None
    advice: str | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the certificate for a JSON document; an infinite condition number is null."""
        fields = asdict(self)
        return {key: None if value == math.inf else value for key, value in fields.items()}


def certify(
    dataset: str, moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings
) -> Certificate:
    """Return the certificate of one dataset (m = 1) from the moments of its training rows."""
    descent = prepare(moments, hyperparameters, settings)
    eigenvalue_p = descent.spectrum.eigenvalue_mp[0]
    largest, smallest = eigenvalue_p[-1].item(), eigenvalue_p[0].item()
    normalized = _normalized(descent, settings).condition_m[0].item()
    verdicts, advice = _unknown(hyperparameters), None
    if settings.is_gradient_descent(moments.rows_m[0].item()):
        end = _end(descent, settings)
        verdicts = _verdicts(descent, end)
        (advice,) = _advice(descent, end, settings)
    return Certificate(
        dataset=dataset,
        num_rows=int(moments.rows_m[0].item()),
        eigenvalue_min=smallest,
        eigenvalue_max=largest,
        condition_number=descent.spectrum.condition_m[0].item(),
        condition_number_normalized=normalized,
        stability_limit=2 / largest,
        best_rate=2 / (largest + descent.spectrum.smallest_positive_m[0].item()),
        epochs=None if settings.automatic_epochs else settings.epochs,
        verdicts=verdicts,
        digits=_fewest_digits(moments, settings.bias),
        advice=advice,
    )


def advise(moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings) -> list[str | None]:
    """Return the advice of the certificates of m datasets, without the rest of them."""
    descent = prepare(moments, hyperparameters, settings)
    advice = _advice(descent, _end(descent, settings), settings)
    known_m = map(settings.is_gradient_descent, moments.rows_m.tolist())
    return [text if known else None for text, known in zip(advice, known_m, strict=True)]


def automatic_rates(moments: Moments, settings: TrainingSettings, number: int = NUM_AUTOMATIC_RATES) -> torch.Tensor:
    """Return learning rates around the stability limit of each dataset, rising, (m, number) float64.

    They are log-spaced from 0.001 to 0.95 times the limit 2/λmax. For full-batch gradient descent, the best rate
    2/(λmax + λmin) replaces the nearest of them. The steps of other optimizers do not scale with the
    gradient: their rates are log-spaced from 0.0001 to 1.
    """
    if not OPTIMIZERS[settings.optimizer].has_closed_form:
        return torch.logspace(-4, 0, number, dtype=torch.float64).expand(moments.num_datasets, -1)
    basis = spectrum(scaled(moments, settings), settings.bias)
    limit_m1 = 2 / basis.largest_m[:, None]
    rate_mg = limit_m1 * torch.logspace(-3, math.log10(0.95), number, dtype=torch.float64)
    if not settings.is_gradient_descent(math.inf):
        return rate_mg
    best_m1 = 2 / (basis.largest_m + basis.smallest_positive_m)[:, None]
    nearest_m1 = (rate_mg.log() - best_m1.log()).abs().argmin(1, keepdim=True)
    return rate_mg.scatter(1, nearest_m1, best_m1).sort(1).values


@dataclass(frozen=True)
class _End:
    """The last epoch of each trial, the epoch at which it diverges (0: it does not), and its gap after the last."""

    last_mg: torch.Tensor
    diverges_at_mg: torch.Tensor
    gap_mg: torch.Tensor

    @property
    def converges_mg(self) -> torch.Tensor:
        return converged_by_gap(self.gap_mg) & (self.diverges_at_mg == 0)


def _end(descent: Descent, settings: TrainingSettings) -> _End:
    last_mg = last_epochs(descent, settings)
    return _End(last_mg, divergence_epoch(descent, last_mg), gap_after(descent, last_mg))


def _verdicts(descent: Descent, end: _End) -> tuple[Verdict, ...]:
    columns = (descent.hyperparameters.learning_rate_mg, end.last_mg, end.diverges_at_mg, end.gap_mg)
    rows = zip(*(column[0].tolist() for column in (*columns, epochs_needed(descent))), strict=True)
    verdicts = []
    for rate, last, diverges_at, gap, needed in rows:
        if diverges_at > 0:
            verdicts.append(Verdict(rate, "diverges", last, diverges_at=diverges_at))
        else:
            outlook: Outlook = "converges" if converged_by_gap(torch.tensor(gap)) else "not converged"
            verdicts.append(Verdict(rate, outlook, last, gap=gap, epochs_needed=needed or None))
    return tuple(verdicts)


def _unknown(hyperparameters: Hyperparameters) -> tuple[Verdict, ...]:
    return tuple(Verdict(rate, "unknown") for rate in hyperparameters.learning_rate_mg[0].tolist())


def _normalized(descent: Descent, settings: TrainingSettings) -> Spectrum:
    """Return the spectrum of the features scaled to mean 0 and variance 1."""
    if settings.normalize:
        return descent.spectrum
    moments, bias = descent.moments, settings.bias
    return spectrum(feature_scaling(moments, bias).apply(moments), bias)


def _fewest_digits(moments: Moments, bias: bool) -> float | None:
    digits_p = trusted_digits(moments, bias)[0]
    known = digits_p[~digits_p.isnan()].tolist()
    return round(min(known), 1) if known else None


def _advice(descent: Descent, end: _End, settings: TrainingSettings) -> list[str | None]:
    """Return one sentence for each dataset of which no grid point converges: why, and what to do; None for others."""
    rows = zip(
        end.converges_mg.any(1).tolist(),
        (end.diverges_at_mg > 0).all(1).tolist(),
        (2 / descent.spectrum.largest_m).tolist(),
        descent.spectrum.spread_m.tolist(),
        _normalized(descent, settings).spread_m.tolist(),
        descent.is_resolved_m.tolist(),
        strict=True,
    )
    return [None if converges else _sentence(settings, *values) for converges, *values in rows]


def _sentence(
    settings: TrainingSettings,
    all_diverge: bool,
    stability_limit: float,
    spread: float,
    normalized: float,
    is_resolved: bool,
) -> str:
    limit = f"{stability_limit:.4g}"
    why = (
        f"no learning rate of the grid converges in {settings.epochs} epochs: above {limit} (2/λmax) descent diverges, "
        f"and below it the slowest direction is {spread:.2g} times slower than the fastest"
    )
    if not settings.normalize and normalized < spread / 2:
        return f"{why}: set 'training.normalize: true', with which that is {normalized:.2g} times"
    if normalized > HOPELESS or not is_resolved:
        remedy = "remove one of them, or set 'training.weight_decay', such as 1e-6"
        return f"{why}, as the features are nearly dependent: {remedy}"
    if all_diverge:
        return f"{why}: set 'grid.learning_rate: auto', or rates below {limit}"
    return f"{why}: set 'grid.learning_rate: auto', or {'larger rates' if settings.automatic_epochs else 'more epochs'}"
