"""Why a trial was chosen, in one sentence: the trials that are equal, and the rule that decided between them.

Shapes: m datasets · g grid points.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.engines.curves import SAME_COST, nearest_of_equals
from jobs.recipe import Policy

SHOWN = 1e-6  # relative: scores that are closer look the same in a table
WORDS = {
    "train_mse": "MSE",
    "val_mse": "validation MSE",
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "r2": "R²",
}


def why_chosen(score_mg: Tensor, gap_mg: Tensor, rate_mg: Tensor, point_m: Tensor, policy: Policy) -> list[str]:
    """Return why the trial at `point_m` is the best of each dataset, by the rules of `best_trials`.

    `score_mg` is NaN for trials that may not be promoted.
    """
    cost_mg = score_mg if policy.mode == "min" else -score_mg
    known_mg, cost_m1 = cost_mg.isfinite(), cost_mg.gather(1, point_m[:, None])
    similar_mg = known_mg & ((cost_mg - cost_m1).abs() <= SHOWN * cost_m1.abs())
    tied_mg = known_mg & (cost_mg <= cost_m1 + SAME_COST * cost_m1.abs())
    nearest_mg = nearest_of_equals(cost_mg, gap_mg)
    low_m = torch.where(similar_mg, rate_mg, torch.inf).amin(1)
    high_m = torch.where(similar_mg, rate_mg, -torch.inf).amax(1)
    has_gap_m = gap_mg.gather(1, point_m[:, None])[:, 0].isfinite()
    columns = (known_mg.sum(1), similar_mg.sum(1), tied_mg.sum(1), nearest_mg.sum(1), has_gap_m, low_m, high_m)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [_sentence(policy, *row) for row in rows]


def _sentence(
    policy: Policy, known: int, similar: int, tied: int, nearest: int, has_gap: bool, low: float, high: float
) -> str:
    word, best = WORDS[policy.metric], "lowest" if policy.mode == "min" else "highest"
    converged = " that converged" if policy.require == "converged" else ""
    if known == 1:
        return f"the only trial{converged or ' to choose from'}"
    if similar == 1:
        return f"the {best} {word} of {known} trials{converged}"
    rates = f"learning rate {low:.6g}" if low == high else f"learning rates from {low:.6g} to {high:.6g}"
    if tied <= 1:
        rule = f"the {best} by the digits after them"
    elif nearest == 1:
        rule = "the nearest to the limit" if has_gap else f"the {best} by the digits after them"
    else:
        rule = "the first" if low == high else "the smallest rate"
        rule += "" if nearest == similar else f" of the {nearest} {'nearest to the limit' if has_gap else best}"
    return f"{similar} of {known} trials{converged} have the same {word} to 6 digits, at {rates}: {rule} was chosen"
