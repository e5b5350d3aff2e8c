"""What several checks rest on, bound once, and many checks of one name folded into one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsFloat

from pcbench import checks
from pcbench.checks import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike

Number = SupportsFloat
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Basis:
    """Makes the checks of :mod:`pcbench.checks` with tolerances that are bare numbers.

    ``source`` is the theorem or section that demands them, ``derivation`` says where their
    tolerances come from, and ``where`` what they are made at, such as a step or a layer; each check
    may add to it. ``label``, an engine's name, goes before all their names.
    """

    source: str
    derivation: str
    where: str = ""
    label: str = ""

    def at(self, where: str) -> Basis:
        """Return the same basis for checks made at ``where``."""
        return replace(self, where=where)

    def approx(self, name: str, seen: Number, due: Number, off: Number, where: str = "") -> Check:
        """Check ``|seen - due| ≤ off``."""
        return self._compare(checks.approx, name, float(seen), float(due), off, where)

    def at_most(self, name: str, seen: Number, most: Number, off: Number, where: str = "") -> Check:
        """Check ``seen ≤ most + off``."""
        return self._compare(checks.at_most, name, float(seen), float(most), off, where)

    def at_least(
        self, name: str, seen: Number, least: Number, off: Number, where: str = ""
    ) -> Check:
        """Check ``seen ≥ least - off``."""
        return self._compare(checks.at_least, name, float(seen), float(least), off, where)

    def below(self, name: str, seen: Number, bound: Number, off: Number, where: str = "") -> Check:
        """Check ``seen ≤ bound - off``."""
        return self._compare(checks.below, name, float(seen), float(bound), off, where)

    def within(
        self, name: str, seen: Number, ends: tuple[float, float], off: Number, where: str = ""
    ) -> Check:
        """Check that a number lies between two ends, or no further than ``off`` outside."""
        return self._compare(checks.within, name, float(seen), ends, off, where)

    def distance(
        self, name: str, seen: ArrayLike, due: ArrayLike, off: Number, where: str = ""
    ) -> Check:
        """Check ``‖seen - due‖ ≤ off``, in the Frobenius norm."""
        return self._compare(checks.distance, name, seen, due, off, where)

    def distances(
        self,
        name: str,
        seen: Iterable[ArrayLike],
        due: Iterable[ArrayLike],
        off: Iterable[Number],
        labels: Iterable[str],
    ) -> Iterator[Check]:
        """Check the same of several arrays, up to the shortest sequence; labels say where."""
        for one, other, bound, where in zip(seen, due, off, labels, strict=False):
            yield self.distance(name, one, other, bound, where)

    def all_close(
        self,
        name: str,
        seen: ArrayLike,
        due: ArrayLike,
        off: Number,
        axes: Sequence[str] = (),
        where: str = "",
        entry: Callable[..., str] | None = None,
    ) -> Check:
        """Check ``|seen - due| ≤ off`` of every entry, which ``axes`` or ``entry`` name."""
        return self._compare(checks.all_close, name, seen, due, off, where, axes=axes, entry=entry)

    def each_close(
        self,
        name: str,
        seen: ArrayLike,
        due: ArrayLike,
        off: ArrayLike,
        labels: Sequence[str] = (),
    ) -> Check:
        """Check ``|seen - due| ≤ off``, every entry by its own; labels name the entries."""
        name, source = self._named(name), self.source
        check = checks.each_close(
            name, seen, due, off, self.derivation, source=source, labels=labels
        )
        return check.at(self.where) if self.where else check

    def _compare(
        self,
        comparison: Callable[..., Check],
        name: str,
        seen: ArrayLike,
        due: ArrayLike,
        off: Number,
        where: str,
        **more: Any,
    ) -> Check:
        where = ", ".join(place for place in (self.where, where) if place)
        tolerance, source = checks.Tolerance(float(off), self.derivation), self.source
        return comparison(
            self._named(name), seen, due, tolerance, source=source, where=where, **more
        )

    def _named(self, name: str) -> str:
        return f"{self.label}: {name}" if self.label else name


def folded(make: Callable[P, Iterable[Check]]) -> Callable[P, Iterator[Check]]:
    """Fold checks of the same name that a function yields into the one that is nearest the edge."""

    @wraps(make)
    def fold(*args: P.args, **kwargs: P.kwargs) -> Iterator[Check]:
        worst = checks.Worst()
        worst.add(*make(*args, **kwargs))
        yield from worst

    return fold
