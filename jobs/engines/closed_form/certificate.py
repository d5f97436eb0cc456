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

from jobs.engines.closed_form.convergence import epochs_of, gap_after
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

    `gap` is the root mean square distance of the last epoch's predictions from the limit, by the target's deviation.
    `diverges_at` is the epoch whose loss is infinite in float32. `epochs_needed` is a number of epochs that closes the
    gap; None if it is 1e9 or more.
    """

    learning_rate: float
    outlook: Outlook
    gap: float | None = None
    diverges_at: int | None = None
    epochs_needed: int | None = None

    def text(self, epochs: int) -> str:
        """Return the verdict in words."""
        if self.outlook == "diverges":
            return f"diverges at epoch {self.diverges_at}"
        if self.outlook == "unknown":
            return "not known before training: only full-batch sgd on mse has a closed form"
        if self.outlook == "converges":
            return f"converges (gap {self.gap:.1e} after {epochs} epochs)"
        needed = f"; {self.epochs_needed} epochs would do" if self.epochs_needed else ""
        return f"not converged (gap {self.gap:.1e} after {epochs} epochs{needed})"


@dataclass(frozen=True)
class Certificate:
    """λmin, λmax, their ratio, the stability limit 2/λmax, the best rate 2/(λmax + λmin); a verdict for each point.

    `condition_number_normalized` is the condition number with the features scaled to mean 0 and variance 1. `digits` is
    the number of digits that can be trusted in every weight of least squares; None if the data determine no weight.
    """

    dataset: str
    num_rows: int
    eigenvalue_min: float
    eigenvalue_max: float
    condition_number: float
    condition_number_normalized: float
    stability_limit: float
    best_rate: float
    epochs: int
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
    if settings.is_gradient_descent(moments.num_rows_m[0].item()):
        diverges_at_mg, gap_mg = _after_last_epoch(descent, settings)
        verdicts = _verdicts(descent, diverges_at_mg[0], gap_mg[0])
        (advice,) = _advice(descent, diverges_at_mg, gap_mg, settings)
    return Certificate(
        dataset=dataset,
        num_rows=int(moments.num_rows_m[0].item()),
        eigenvalue_min=smallest,
        eigenvalue_max=largest,
        condition_number=descent.spectrum.condition_m[0].item(),
        condition_number_normalized=normalized,
        stability_limit=2 / largest,
        best_rate=2 / (largest + descent.spectrum.smallest_positive_m[0].item()),
        epochs=settings.epochs,
        verdicts=verdicts,
        digits=_fewest_digits(moments, settings.bias),
        advice=advice,
    )


def advise(moments: Moments, hyperparameters: Hyperparameters, settings: TrainingSettings) -> list[str | None]:
    """Return the advice of the certificates of m datasets, without the rest of them."""
    descent = prepare(moments, hyperparameters, settings)
    advice = _advice(descent, *_after_last_epoch(descent, settings), settings)
    known_m = map(settings.is_gradient_descent, moments.num_rows_m.tolist())
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


def _after_last_epoch(descent: Descent, settings: TrainingSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the epoch at which each trial diverges (0: it does not), and its gap after the last epoch; both (m, g)."""
    epochs_mg = torch.full(descent.hyperparameters.learning_rate_mg.shape, settings.epochs)
    return divergence_epoch(descent, settings.epochs), gap_after(descent, epochs_mg)


def _verdicts(descent: Descent, diverges_at_g: torch.Tensor, gap_g: torch.Tensor) -> tuple[Verdict, ...]:
    needed_g = epochs_of(descent)[0]
    converged_g = converged_by_gap(gap_g)
    verdicts = []
    for g, rate in enumerate(descent.hyperparameters.learning_rate_mg[0].tolist()):
        if diverges_at_g[g] > 0:
            verdicts.append(Verdict(rate, "diverges", diverges_at=int(diverges_at_g[g])))
        elif converged_g[g]:
            verdicts.append(Verdict(rate, "converges", gap=gap_g[g].item()))
        else:
            needed = int(needed_g[g]) if needed_g[g] > 0 else None
            verdicts.append(Verdict(rate, "not converged", gap=gap_g[g].item(), epochs_needed=needed))
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


def _advice(
    descent: Descent, diverges_at_mg: torch.Tensor, gap_mg: torch.Tensor, settings: TrainingSettings
) -> list[str | None]:
    """Return one sentence for each dataset of which no grid point converges: why, and what to do; None for others."""
    diverges_mg = diverges_at_mg > 0
    rows = zip(
        (converged_by_gap(gap_mg) & ~diverges_mg).any(1).tolist(),
        diverges_mg.all(1).tolist(),
        (2 / descent.spectrum.largest_m).tolist(),
        descent.spectrum.spread_m.tolist(),
        _normalized(descent, settings).spread_m.tolist(),
        strict=True,
    )
    return [None if converges else _sentence(settings, *values) for converges, *values in rows]


def _sentence(
    settings: TrainingSettings, all_diverge: bool, stability_limit: float, spread: float, normalized: float
) -> str:
    limit = f"{stability_limit:.4g}"
    why = (
        f"no learning rate of the grid converges in {settings.epochs} epochs: above {limit} (2/λmax) descent diverges, "
        f"and below it the slowest direction is {spread:.2g} times slower than the fastest"
    )
    if not settings.normalize and normalized < spread / 2:
        return f"{why}: set 'training.normalize: true', with which that is {normalized:.2g} times"
    if normalized > HOPELESS:
        return f"{why}, as the features are nearly dependent: remove one of them"
    if all_diverge:
        return f"{why}: set 'grid.learning_rate: auto', or rates below {limit}"
    return f"{why}: set 'grid.learning_rate: auto', or more epochs"
