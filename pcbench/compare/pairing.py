"""Pair the items of two lists by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pcbench.report.model import CaseResult, Report

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def pair(
    base: Iterable[T], new: Iterable[T], name: Callable[[T], K]
) -> list[tuple[K, T | None, T | None]]:
    """Pair the items that have the same name: ``(name, base, new)``, ``None`` where one is missing.

    The order is that of ``new``, then what only ``base`` has. Names should be unique; where they
    are not, the first goes with the first and the second with the second, so that none is dropped.
    """
    old, now = _numbered(base, name), _numbered(new, name)
    return [(key[0], old.get(key), now.get(key)) for key in {**now, **old}]


def pair_cases(base: Report, new: Report) -> list[tuple[str, CaseResult | None, CaseResult | None]]:
    """Pair the cases of the same suite and identifier: ``(identifier, base, new)``.

    Older reports do not say which suite a case is from: against these, identifiers have to do.
    """
    known = all(case.suite for report in (base, new) for case in report.cases)
    pairs = pair(base.cases, new.cases, lambda case: (case.suite if known else "", case.id))
    return [(name, old, now) for (_, name), old, now in pairs]


def _numbered(items: Iterable[T], name: Callable[[T], K]) -> dict[tuple[K, int], T]:
    seen: Counter[K] = Counter()
    numbered: dict[tuple[K, int], T] = {}
    for item in items:
        key = name(item)
        numbered[key, seen[key]] = item
        seen[key] += 1
    return numbered
