"""The arrays of models that an exported program needs: weights, biases, and what replaces missing values.

Shapes: m models · d encoded columns · k raw features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handler.models.stack import ServedStack
from handler.rows.encoding import Floats
from handler.rows.model_card import ModelCard


@dataclass(frozen=True)
class ModelsOfCard:
    """m models with a card; the bias is 0 for a card without one, and `fill_mk` is NaN where nothing fills."""

    card: ModelCard
    weight_md: Floats
    bias_m: Floats
    fill_mk: Floats

    @property
    def padded_weight_md(self) -> Floats:
        """The weights with one column more, of zeros: a level without a column takes its weight there."""
        return np.column_stack([self.weight_md, np.zeros(len(self.weight_md))])


def models_of_stack(stack: ServedStack) -> ModelsOfCard:
    """Return the models of a stack."""
    m = len(stack.weight_md)
    bias_m = np.zeros(m) if stack.bias_m is None else stack.bias_m
    statistics = stack.statistics
    fill_mk = np.full((m, len(stack.card.features)), np.nan) if statistics is None else statistics.fill_mk
    return ModelsOfCard(stack.card, stack.weight_md, bias_m, fill_mk)


def joined(models: Sequence[ModelsOfCard]) -> ModelsOfCard:
    """Return the models of several cards, which encode rows alike, under the first card."""
    if len(models) == 1:
        return models[0]
    arrays = ([getattr(one, name) for one in models] for name in ("weight_md", "bias_m", "fill_mk"))
    return ModelsOfCard(models[0].card, *map(np.concatenate, arrays))
