"""What several checks rest on, bound once, and many checks of one name folded into one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import wraps
from typing import ParamSpec, SupportsFloat

from numpy.typing import ArrayLike

from pcbench import checks
from pcbench.checks import Check, Tolerance

Number = SupportsFloat
P = ParamSpec("P")


def folded(make: Callable[P, Iterable[Check]]) -> Callable[P, Iterator[Check]]:
    """Fold checks of the same name that a function yields into the one that is nearest the edge."""

    @wraps(make)
    def fold(*args: P.args, **kwargs: P.kwargs) -> Iterator[Check]:
        worst = checks.Worst()
        worst.add(*make(*args, **kwargs))
        yield from worst

    return fold


@dataclass(frozen=True, slots=True)
class Basis:
    """Makes the checks of :mod:`pcbench.checks` with tolerances that are bare numbers.

    Attributes
    ----------
    source
        The theorem or section that demands them.
    derivation
        Where their tolerances come from.
    where
        What they are made at, such as a step or a layer; each check may add to it.
    """

    source: str
    derivation: str
    where: str = ""

    def at(self, where: str) -> Basis:
        """Return the same basis for checks made at ``where``."""
        return replace(self, where=where)

    def approx(self, name: str, seen: Number, due: Number, off: Number, where: str = "") -> Check:
        """Check ``|seen - due| ≤ off``."""
        return checks.approx(name, float(seen), float(due), self.tolerance(off), **self._at(where))

    def at_most(self, name: str, seen: Number, most: Number, off: Number, where: str = "") -> Check:
        """Check ``seen ≤ most + off``."""
        return checks.at_most(
            name, float(seen), float(most), self.tolerance(off), **self._at(where)
        )

    def at_least(
        self, name: str, seen: Number, least: Number, off: Number, where: str = ""
    ) -> Check:
        """Check ``seen ≥ least - off``."""
        return checks.at_least(
            name, float(seen), float(least), self.tolerance(off), **self._at(where)
        )

    def below(self, name: str, seen: Number, bound: Number, off: Number, where: str = "") -> Check:
        """Check ``seen ≤ bound - off``."""
        return checks.below(name, float(seen), float(bound), self.tolerance(off), **self._at(where))

    def distance(
        self, name: str, seen: ArrayLike, due: ArrayLike, off: Number, where: str = ""
    ) -> Check:
        """Check ``‖seen - due‖ ≤ off``, in the Frobenius norm."""
        return checks.distance(name, seen, due, self.tolerance(off), **self._at(where))

    def tolerance(self, off: Number) -> Tolerance:
        """Return a tolerance with the derivation."""
        return Tolerance(float(off), self.derivation)

    def _at(self, where: str) -> dict[str, str]:
        places = (self.where, where)
        return {"source": self.source, "where": ", ".join(place for place in places if place)}
