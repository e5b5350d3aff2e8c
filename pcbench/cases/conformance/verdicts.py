"""The same questions put to many networks, folded into one verdict each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from math import inf

from pcbench.cases.conformance.draw import Drawn
from pcbench.checks import Check, CheckStatus, Worst

_SEVERITY: tuple[CheckStatus, ...] = ("failed", "undecided", "passed")


class Verdicts:
    """Keeps, of checks of one name, the smallest network that fails; else the first undecided one.

    Where all pass, the least margin is kept.

    A failure in a large network is seldom understood there. Networks are to be added from small to
    large.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Check] = {}
        self._comparisons: Counter[str] = Counter()
        self._fates: defaultdict[str, Counter[CheckStatus]] = defaultdict(Counter)

    def add(self, drawn: Drawn, checks: Iterable[Check]) -> None:
        """Take in what was asked of one network."""
        worst = Worst()
        worst.add(*checks)
        for check in worst:
            name = check.name
            self._comparisons[name] += check.comparisons
            self._fates[name][check.status] += 1
            kept = self._kept.get(name)
            if kept is None or _worse(check, kept):
                self._kept[name] = check.at(str(drawn))

    def __iter__(self) -> Iterator[Check]:
        for name, check in self._kept.items():
            where = check.where
            fates = self._fates[name]
            networks = fates.total()
            if fates["failed"]:
                where += f"; {fates['failed']} of {networks} networks fail"
            if fates["undecided"]:
                where += f"; {fates['undecided']} of {networks} networks undecided"
            yield check.model_copy(update={"where": where, "comparisons": self._comparisons[name]})


def _worse(check: Check, kept: Check) -> bool:
    """Whether a check is the first to fail or to be undecided, or passes more narrowly."""
    if check.status != kept.status:
        return _SEVERITY.index(check.status) < _SEVERITY.index(kept.status)
    return kept.passed and _margin(check) < _margin(kept)


def _margin(check: Check) -> float:
    return -inf if check.margin is None else check.margin
