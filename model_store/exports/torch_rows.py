"""A model card as a PyTorch module: raw columns and codes of levels become predictions, as `handler` computes them.

Where `handler` refuses a value, the prediction of the row is NaN.

Shapes: n rows · m models · d encoded columns, and one of zeros · k raw features.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from handler.rows.date_parts import CYCLES, ROUNDING_S, SECONDS_A_DAY, THURSDAY, DatePart
from handler.rows.model_card import Feature
from handler.rows.transforms import DOMAINS
from model_store.exports.encoded_columns import Block, Levels, Number, blocks
from model_store.exports.level_places import LONGEST_DAYS, REFUSED, places
from model_store.exports.models_of_card import ModelsOfCard

TRANSFORMS = {"log": torch.log, "log10": torch.log10, "log1p": torch.log1p, "sqrt": torch.sqrt}
BACK = {"log": torch.exp, "log1p": torch.expm1}
MISSING, UNSEEN = -2, -1  # the codes of a missing level, and of one that training did not see


class CardProgram(nn.Module):
    """Predict by models with one card."""

    weight_md: Tensor
    bias_m: Tensor
    fill_mk: Tensor

    def __init__(self, models: ModelsOfCard) -> None:
        super().__init__()
        self.card = models.card
        self._blocks = blocks(models.card)
        self.register_buffer("weight_md", torch.from_numpy(models.padded_weight_md))
        self.register_buffer("bias_m", torch.from_numpy(np.ascontiguousarray(models.bias_m)))
        self.register_buffer("fill_mk", torch.from_numpy(np.ascontiguousarray(models.fill_mk)))

    def forward(self, numbers: Tensor, codes: Tensor, rows: Tensor) -> Tensor:
        """Return the predictions (n,), float64.

        `numbers` are the features that are not categorical, float64 in the order of the card: NaN for a missing value,
        and days since 1970-01-01 UTC for a date. `codes` are the categorical ones, int64: the position among the
        levels, MISSING or UNSEEN. `rows` are the models of the rows, int64.
        """
        has_model = (rows >= 0) & (rows < len(self.bias_m))
        model_n = torch.where(has_model, rows, 0)
        columns = self._columns(numbers, codes, model_n)
        prediction = self.bias_m[model_n]
        for block in self._blocks:
            prediction = prediction + self._weighted(block, columns, model_n)
        if self.card.target_transform is not None:
            prediction = BACK[self.card.target_transform](prediction)
        valid = has_model & torch.isfinite(prediction)
        for column in columns.values():
            valid = valid & column.valid
        return torch.where(valid, prediction, torch.nan)

    def _columns(self, numbers: Tensor, codes: Tensor, model_n: Tensor) -> dict[str, RawColumn]:
        columns: dict[str, RawColumn] = {}
        num_categorical = 0
        for k, feature in enumerate(self.card.features):
            is_text = feature.kind == "categorical"
            value = codes[:, num_categorical] if is_text else numbers[:, k - num_categorical]
            columns[feature.name] = RawColumn(feature, value, self.fill_mk[model_n, k])
            num_categorical += is_text
        return columns

    def _weighted(self, block: Block, columns: dict[str, RawColumn], model_n: Tensor) -> Tensor:
        """Return the sum of the encoded columns of a block, each times its weight."""
        last = self.weight_md.shape[1] - 1
        column, has_column = torch.full_like(model_n, block.first), torch.ones_like(model_n, dtype=torch.bool)
        for levels, stride in block.levels:
            place = columns[levels.feature].place(levels)
            column, has_column = column + stride * place, has_column & (place >= 0)
        weighted = self.weight_md[model_n, torch.where(has_column, column, last)]
        for source, power in block.numbers:
            weighted = weighted * columns[source.feature].number(source) ** power
        return weighted


class RawColumn:
    """The values of a feature; `valid` are the rows whose value `handler` takes."""

    def __init__(self, feature: Feature, value: Tensor, fill: Tensor) -> None:
        self._feature, self._value = feature, value
        self._places: dict[Levels, Tensor] = {}
        self.valid = torch.ones_like(value, dtype=torch.bool)
        if feature.kind == "categorical":
            return
        self._missing = torch.isnan(value)
        raw = torch.where(self._missing, fill, value) if feature.fills else value
        self.valid = torch.isfinite(raw)
        if feature.kind == "datetime":
            self.valid = self.valid & (raw.abs() < LONGEST_DAYS)
            self._raw = torch.where(self.valid, raw, 0.0)
        elif feature.transform is None:
            self._raw = raw
        else:
            lower = DOMAINS[feature.transform].lower
            self.valid = self.valid & (raw >= lower if DOMAINS[feature.transform].closed else raw > lower)
            self._raw = TRANSFORMS[feature.transform](raw)

    def number(self, source: Number) -> Tensor:
        """Return a column of numbers."""
        if source.take == "number":
            return self._raw
        if source.take == "missing":
            return self._missing.double()
        if source.take == "days":
            return self._raw - self._feature.origin
        name, _, function = source.take.partition(".")
        part = cast(DatePart, name)
        value = part_of(part, self._raw)
        if not function:
            return value
        angle = 2 * torch.pi * (value - CYCLES[part][0]) / CYCLES[part][1]
        return torch.sin(angle) if function == "sin" else torch.cos(angle)

    def place(self, levels: Levels) -> Tensor:
        """Return the place of each row's level among the columns; negative for none."""
        if levels not in self._places:
            place = self._place(levels)
            self._places[levels] = place
            self.valid = self.valid & (place != REFUSED)
        return self._places[levels]

    def _place(self, levels: Levels) -> Tensor:
        known = places(self._feature, levels)
        of_code = [known.missing, known.unseen, *known.of_level.values(), REFUSED]
        if self._feature.kind == "categorical":
            code = self._value
        else:
            value, level = part_of(cast(DatePart, levels.take), self._raw)[:, None], torch.tensor(levels.levels)
            is_level = value == level
            code = torch.where(is_level.any(dim=1), is_level.double().argmax(dim=1), UNSEEN)
        is_code = (code >= MISSING) & (code < len(levels.levels))
        return torch.tensor(of_code)[torch.where(is_code, code - MISSING, len(of_code) - 1)]


def part_of(part: DatePart, days: Tensor) -> Tensor:
    """Return a part of dates as float64: see `handler.rows.date_parts.part_of`."""
    day = torch.floor(days + ROUNDING_S / SECONDS_A_DAY)
    if part == "weekday":
        return _rest(day + THURSDAY, 7) + 1
    if part == "hour":
        return torch.clip(torch.floor(((days - day) * SECONDS_A_DAY + ROUNDING_S) / 3600), 0, 23)
    era, day = torch.floor((day + 719_468) / 146_097), _rest(day + 719_468, 146_097)  # of 400 years, from March
    leaps = torch.floor(day / 36_524) - torch.floor(day / 1460) - torch.floor(day / 146_096)
    year = torch.floor((day + leaps) / 365)
    day = day - (365 * year + torch.floor(year / 4) - torch.floor(year / 100))
    from_march = torch.floor((5 * day + 2) / 153)
    month = torch.where(from_march < 10, from_march + 3, from_march - 9)
    return month if part == "month" else year + 400 * era + (month < 3)


def _rest(number: Tensor, divisor: int) -> Tensor:
    return number - torch.floor(number / divisor) * divisor
