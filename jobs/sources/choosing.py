"""Choose the columns of a source: what the lines of `features` mean for its files, and which columns are of no use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from handler.rows.model_card import Feature, Kind, Term
from jobs.errors import DataError
from jobs.sources.column_facts import ColumnFacts, SourceFacts, facts_of
from jobs.sources.columns import Wanted
from jobs.sources.feature_rules import FeatureRule, is_term, named_kind, term_of
from jobs.sources.names import check_names
from jobs.sources.resolved import ResolvedSource, dataset_in_errors

FEW_ROWS_A_LEVEL = 2  # a category with fewer rows for each level, as names and numbers of rows are, teaches nothing

Rules = dict[str, list[FeatureRule]]  # of each column; one that names it alone, or patterns


@dataclass(frozen=True)
class _Chosen:
    """A column with its rule and its kind; `found` by a pattern, or named; `main`, or only a factor of terms."""

    name: str
    rule: FeatureRule
    kind: Kind
    found: bool
    main: bool

    def feature(self) -> Feature:
        return replace(self.rule.feature(self.name, self.kind), main=self.main)


def choose_columns(source: ResolvedSource) -> ResolvedSource:
    """Return the source with the features and terms that its rules name in its files, and the columns left out.

    Rules of plain names need no file, and are resolved before. Raises DataError for a name that no column has, a
    pattern that matches none, and if no column is left.
    """
    if not source.rules:
        return source
    with dataset_in_errors(source.name):
        first = source.fragments[0]
        names = first.format.column_names(first.location, source.s3)
        rules, terms = _named(source, names)
        factors = [factor.feature for term in terms for factor in term.factors if factor.feature not in rules]
        check_names(first.location, names, [Wanted(name) for name in factors])
        every = rules | {name: [FeatureRule(name)] for name in factors}
        unused = _nameless(names, every)
        every = {name: lines for name, lines in every.items() if name not in unused}
        facts = facts_of(source, [name for name, lines in every.items() if _is_asked(lines)])
        chosen = [
            each
            for name, lines in every.items()
            if (each := _chosen(name, lines, facts.columns.get(name), unused, main=name in rules)) is not None
        ]
        chosen = _that_fit(chosen, facts, unused, source)
        if not chosen:
            reasons = "; ".join(f"{name!r} {reason}" for name, reason in unused.items()) or "none is of the kind"
            raise DataError(
                f"{first.location}: 'features' leaves no column to predict with: {reasons}: add columns of numbers or "
                "of fewer levels, or write dates as 2026-01-31"
            )
        _check_powers(terms, chosen)
        return replace(
            source,
            rules=(),
            features=tuple(each.feature() for each in chosen),
            terms=tuple(terms),
            min_counts={each.name: each.rule.min_count for each in chosen if each.rule.min_count is not None},
            unused=unused,
        )


def _named(source: ResolvedSource, names: Sequence[str]) -> tuple[Rules, list[Term]]:
    """Return the lines that name each column, in the order of lines and of the file, and the terms."""
    place, taken = source.fragments[0].location, {source.target, *source.group_by}
    taken |= {source.weights.column} if source.weights else set()
    taken |= {name for rule in source.rules if _excludes(rule, names) for name in _matched(rule, names, place)}
    rules: Rules = {}
    terms = []
    for rule in source.rules:
        if rule.name in names:
            rules[rule.name] = [replace(rule, is_pattern=False)]
        elif rule.is_pattern and not rule.excludes:
            for name in _matched(rule, names, place):
                lines = rules.setdefault(name, []) if name not in taken else []
                if not lines or lines[0].is_pattern:
                    lines.append(rule)
        elif is_term(rule.name):
            if rule != FeatureRule(rule.name, "numeric"):
                raise DataError(f"{place}: {rule.name!r} is a product of columns: give the options to these, not to it")
            terms.append(term_of(rule.name))
        elif not rule.excludes:
            check_names(place, names, [Wanted(rule.name)])
    return rules, list(dict.fromkeys(terms))


def _excludes(rule: FeatureRule, names: Sequence[str]) -> bool:
    return rule.excludes and rule.name not in names


def _matched(rule: FeatureRule, names: Sequence[str], place: str) -> list[str]:
    """Return the columns that a pattern matches. Raises DataError if there are none."""
    matched = [name for name in names if rule.matches(name)]
    if not matched:
        check_names(place, names, [Wanted(rule.name.removeprefix("!"))])
    return matched


def _nameless(names: Sequence[str], rules: Rules) -> dict[str, str]:
    """Return the reasons of columns that patterns found, and that have no name of their own."""
    found = [name for name, lines in rules.items() if lines[0].is_pattern]
    twice = {name: "is the name of two columns" for name in found if names.count(name) > 1}
    return twice | {name: "has no name" for name in found if not name.strip()}


def _is_asked(lines: Sequence[FeatureRule]) -> bool:
    """Return whether the cells have to tell the kind of a column, or whether it is of use."""
    return lines[0].is_pattern or lines[0].kind == "auto"


def _chosen(
    name: str, lines: Sequence[FeatureRule], facts: ColumnFacts | None, unused: dict[str, str], *, main: bool
) -> _Chosen | None:
    """Return a column with its rule; None if patterns do not want its kind, or it is of no use, which `unused` gets."""
    [first, *_] = lines
    if facts is None:  # the line says its kind
        return _Chosen(name, first, named_kind(first), found=False, main=main)
    if not first.is_pattern:
        if facts.unusable is not None:
            raise DataError(f"column {name!r} is of type {facts.unusable}: store it as numbers, dates or text")
        return _Chosen(name, first, facts.kind, found=False, main=main)
    rule = next((line for line in lines if line.only in (None, facts.kind)), None)
    if rule is None:
        return None
    reason = facts.why_useless
    if reason is not None:
        unused[name] = reason
        return None
    return _Chosen(name, rule, _stated(rule, facts.kind), found=True, main=main)


def _stated(rule: FeatureRule, kind: Kind) -> Kind:
    """Return the kind that a line says, or the one that the cells have."""
    return kind if rule.kind == "auto" else rule.kind


def _that_fit(
    chosen: Sequence[_Chosen], facts: SourceFacts, unused: dict[str, str], source: ResolvedSource
) -> list[_Chosen]:
    """Return the columns without categories, found by patterns, that would leave no rows to learn from."""
    share = 1 - source.split.fraction if source.split is not None and source.split.fraction is not None else 1.0
    num_rows = facts.num_rows * share / facts.num_groups
    levels = {
        each.name: len(facts.columns[each.name].levels)
        for each in chosen
        if each.found and each.kind == "categorical" and each.rule.min_count is None
    }
    num_weights = 1 + sum(levels.get(each.name, 2) - 1 for each in chosen)
    for name, count in sorted(levels.items(), key=lambda item: -item[1]):
        if count * FEW_ROWS_A_LEVEL <= num_rows and num_weights < num_rows:
            break
        num_weights -= count - 1
        unused[name] = f"has {count} levels in {facts.num_rows} rows"
    return [each for each in chosen if each.name not in unused]


def _check_powers(terms: Sequence[Term], chosen: Sequence[_Chosen]) -> None:
    kinds: Mapping[str, Kind] = {each.name: each.kind for each in chosen}
    for term in terms:
        for factor in term.factors:
            if factor.feature not in kinds:
                raise DataError(f"{str(term)!r} has the column {factor.feature!r}, which can't be used: remove it")
            if factor.power > 1 and kinds[factor.feature] == "categorical":
                raise DataError(f"{str(term)!r} is a power of the category {factor.feature!r}: name the column alone")
