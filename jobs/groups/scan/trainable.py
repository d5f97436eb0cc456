"""Turn sums into trainable datasets: held-out rows, the columns of each dataset, and reasons of untrainable ones.

Shapes: m groups · k raw features, and the target last · h = 1 + folds (0: the rows that only train) · f packed
moments · v partial sums · d encoded columns · q columns of z without the ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from handler.rows.model_card import OTHER_LEVEL, Feature, ModelCard
from jobs.engines.closed_form.dependence import undetermined
from jobs.engines.moments import Moments
from jobs.groups.scan.digits import combine_lacks, with_lacks
from jobs.groups.scan.held_out import names_of, total, with_validation
from jobs.groups.scan.layout import Layout
from jobs.groups.scan.packed import Floats, unpack
from jobs.groups.scan.partial import Partial
from jobs.sources.checks import left_out_of, no_row_left, too_few_rows, untrainable


@dataclass(frozen=True)
class Trainable:
    """Groups with the same model card: names, moments of all rows and of each fold, bounds, hashes.

    `place_m` are their positions among all groups; `column_d` are the card's columns among the columns of all levels.
    """

    card: ModelCard
    name_m: pa.Array
    moments: Moments
    held_out: tuple[Moments, ...]
    low_mk: Floats
    high_mk: Floats
    hash_m2: NDArray[np.uint64]
    place_m: NDArray[np.intp]
    column_d: NDArray[np.intp]


def split_trainable(
    partial: Partial, layout: Layout, bias: bool, *, ridge: bool
) -> tuple[list[Trainable], dict[str, str]]:
    """Return the trainable groups, by model card, and the reasons of the other groups.

    With `ridge`, weight decay determines the weights even of fewer rows.
    """
    failures = _emptied(partial, layout) | dict(partial.failures)
    packed_mhf, count_mh, unsplit = with_validation(partial, layout)
    failures = unsplit | failures
    healthy = ~np.isin(np.array(partial.name_m.to_pylist(), dtype=object), list(failures)) if failures else None
    index_m = np.arange(partial.num_groups) if healthy is None else np.flatnonzero(healthy)
    trainable = []
    for card, chosen_m, columns in _cards(packed_mhf, layout, bias, index_m):
        reasons = _reasons(partial, packed_mhf, count_mh, card, chosen_m, columns, layout, ridge=ridge)
        names = partial.name_m.take(pa.array(chosen_m)).to_pylist() if reasons else []
        failures |= {names[at]: reason for at, reason in reasons.items()}
        good_m = np.delete(chosen_m, list(reasons))
        if len(good_m):
            trainable.append(_trainable(partial, packed_mhf, count_mh, card, good_m, columns))
    return trainable, failures


def left_out_by_group(partial: Partial, layout: Layout) -> dict[str, dict[str, int]]:
    """Return, for each group with rows that are left out, their numbers by reason."""
    if partial.left_out_mr is None:
        return {}
    some_m = partial.left_out_mr.sum(axis=1) > 0
    named = zip(names_of(partial, some_m), partial.left_out_mr[some_m].tolist(), strict=True)
    return {name: left_out_of(layout.left_out_reasons, counts) for name, counts in named}


def _emptied(partial: Partial, layout: Layout) -> dict[str, str]:
    """Return the reasons of groups whose rows are all left out."""
    left_out = left_out_by_group(partial, layout)
    empty_m = partial.moments_mhf[:, :, 0].sum(axis=1) == 0
    return {name: no_row_left(left_out[name]) for name in names_of(partial, empty_m) if name in left_out}


def _trainable(
    partial: Partial,
    packed_mhf: Floats,
    count_mh: Floats | None,
    card: ModelCard,
    good_m: NDArray[np.intp],
    column_d: NDArray[np.intp],
) -> Trainable:
    good_mhf, good_mh = packed_mhf[good_m], None if count_mh is None else count_mh[good_m]
    moments = _counted(unpack(total(good_mhf), column_d), None if good_mh is None else good_mh.sum(1))
    if partial.lacks_mhf is not None:
        # Rows that were moved from one fold to another left their sums' lacks behind.
        moved_m = (good_mhf != partial.moments_mhf[good_m]).any((1, 2))
        lacks_mhf = np.where(moved_m[:, None, None], 0.0, partial.lacks_mhf[good_m])
        moments = with_lacks(moments, _total_lacks(lacks_mhf, good_mhf[:, :, 0]), column_d)
    return Trainable(
        card=card,
        name_m=partial.name_m.take(pa.array(good_m)),
        moments=moments,
        held_out=tuple(
            _counted(unpack(good_mhf[:, fold], column_d), None if good_mh is None else good_mh[:, fold])
            for fold in range(1, good_mhf.shape[1])
        ),
        low_mk=partial.low_mk[good_m],
        high_mk=partial.high_mk[good_m],
        hash_m2=partial.hash_m2[good_m],
        place_m=good_m,
        column_d=column_d,
    )


def _counted(moments: Moments, count_m: Floats | None) -> Moments:
    """Return moments with the numbers of rows, if rows have weights."""
    return moments if count_m is None else replace(moments, count_m=torch.from_numpy(count_m))


def _total_lacks(lacks_mhf: Floats, count_mh: Floats) -> Floats:
    m, num_folds, width = lacks_mhf.shape
    code_v = np.repeat(np.arange(m), num_folds)
    return combine_lacks(lacks_mhf.reshape(-1, width), count_mh.reshape(-1), code_v, m)


def _cards(
    packed_mhf: Floats, layout: Layout, bias: bool, index_m: NDArray[np.intp]
) -> Iterator[tuple[ModelCard, NDArray[np.intp], NDArray[np.intp]]]:
    """Yield each model card with its groups, and the positions of its columns among the columns of all levels.

    The card of a group has the levels of its own training rows, as for a listed dataset.
    """
    full = layout.card
    place = {column: at for at, column in enumerate(full.columns)}
    partial_d = np.zeros(len(full.columns), dtype=bool)  # the columns that a group has only if one of its rows has them
    for feature in full.features:
        partial_d[[place[column] for _, column in feature.level_columns]] = True
        if feature.has_indicator:
            partial_d[place[feature.indicator]] = True
    if not partial_d.any() and not layout.hidden:
        yield replace(full, bias=bias), index_m, np.arange(len(full.columns))
        return
    present_md = (_trained(packed_mhf, layout)[:, 1 : 1 + len(full.columns)] > 0) | ~partial_d
    patterns, which_m = np.unique(present_md[index_m], axis=0, return_inverse=True)
    for number, here_d in enumerate(patterns):
        absent = {full.columns[at] for at in np.flatnonzero(~here_d)}
        features = tuple(_narrowed(feature, absent, layout.hidden) for feature in full.features)
        card = replace(full, features=features, bias=bias)
        columns = np.array([place[column] for column in card.columns], dtype=np.intp)
        yield card, index_m[which_m == number], columns


def _narrowed(feature: Feature, absent: Set[str], hidden: Set[str]) -> Feature:
    """Return a feature with the levels of a group, those whose column is not absent."""
    levels = tuple(level for level, column in feature.level_columns if column not in absent)
    without_others = feature.unseen == "other" and OTHER_LEVEL not in levels
    return replace(
        feature,
        levels=levels,
        unseen="error" if without_others else feature.unseen,
        missing="mean" if feature.has_indicator and feature.indicator in absent else feature.missing,
        main=feature.name not in hidden,
    )


def _trained(packed_mhf: Floats, layout: Layout) -> Floats:
    """Return the moments of the rows that train; with folds, all rows."""
    return packed_mhf[:, 0] if layout.split and layout.split.fraction is not None else total(packed_mhf)


def _unseen_levels(packed_mhf: Floats, card: ModelCard, layout: Layout) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield each level that the card lacks, and the groups that have it in a row that validates."""
    if layout.split is None or layout.split.fraction is None:
        return
    place = {column: at for at, column in enumerate(layout.card.columns)}
    for full, fitted in zip(layout.card.features, card.features, strict=True):
        for level, column in full.level_columns if full.unseen != "reference" else ():
            if level not in fitted.levels:
                yield full.name, level, packed_mhf[:, 1, 1 + place[column]] > 0


def _reasons(
    partial: Partial,
    packed_mhf: Floats,
    count_mh: Floats | None,
    card: ModelCard,
    chosen_m: NDArray[np.intp],
    columns: NDArray[np.intp],
    layout: Layout,
    *,
    ridge: bool,
) -> dict[int, str]:
    """Return the reasons of untrainable groups, by their position in `chosen_m`."""
    trained = unpack(_trained(packed_mhf[chosen_m], layout), columns)
    if count_mh is not None:
        held_out = layout.split is not None and layout.split.fraction is not None
        trained = _counted(trained, count_mh[chosen_m, 0] if held_out else count_mh[chosen_m].sum(1))
    fill_mk = layout.fills.of(partial.name_m.take(pa.array(chosen_m))) if layout.fills else None
    low_mk, high_mk = partial.low_mk[chosen_m], partial.high_mk[chosen_m]
    reasons = untrainable(card, trained.rows_m.numpy(), low_mk, high_mk, fill_mk)
    for name, level, where_m in _unseen_levels(packed_mhf[chosen_m], card, layout):
        remedy = "set 'unseen: reference', or another seed"
        reason = f"feature {name!r}: a row that validates has level {level!r}, and none that trains: {remedy}"
        reasons |= dict.fromkeys(np.flatnonzero(where_m).tolist(), reason)
    return reasons if ridge else _too_few(trained, card) | reasons


def _too_few(trained: Moments, card: ModelCard) -> dict[int, str]:
    """Return the reasons of groups with fewer rows than weights, unless some rows depend on others."""
    num_weights = trained.num_columns + card.bias
    few_m = (trained.rows_m < num_weights).nonzero()[:, 0]
    if not len(few_m):
        return {}
    rows_m = trained.rows_m[few_m]
    full_m = undetermined(trained.take(few_m), card.bias).rank_m >= rows_m
    counted = zip(few_m[full_m].tolist(), rows_m[full_m].tolist(), strict=True)
    return {at: too_few_rows(int(num_rows), num_weights) for at, num_rows in counted}
