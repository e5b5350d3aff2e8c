"""Comparisons that have their source, and the derivation of their tolerances, in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from pcbench import checks
from pcbench.checks import Check, Tolerance


@dataclass(frozen=True, slots=True)
class Expectation:
    """The checks of :mod:`pcbench.checks`, each given its tolerance as a number.

    Attributes
    ----------
    source
        The theorem or section that demands what is expected.
    derivation
        Where the tolerances come from.
    label
        Goes before the name of every check, with a colon, unless it is empty.
    """

    source: str
    derivation: str
    label: str = ""

    def approx(
        self, name: str, observed: float, expected: float, off: float, where: str = ""
    ) -> Check:
        """Check ``|observed - expected| ≤ off``."""
        return self._compare(checks.approx, name, observed, expected, off, where)

    def at_most(
        self, name: str, observed: float, bound: float, off: float, where: str = ""
    ) -> Check:
        """Check ``observed ≤ bound + off``."""
        return self._compare(checks.at_most, name, observed, bound, off, where)

    def at_least(
        self, name: str, observed: float, bound: float, off: float, where: str = ""
    ) -> Check:
        """Check ``observed ≥ bound - off``."""
        return self._compare(checks.at_least, name, observed, bound, off, where)

    def below(self, name: str, observed: float, bound: float, off: float, where: str = "") -> Check:
        """Check ``observed ≤ bound - off``."""
        return self._compare(checks.below, name, observed, bound, off, where)

    def within(
        self, name: str, observed: float, interval: tuple[float, float], off: float, where: str = ""
    ) -> Check:
        """Check that a number lies in an interval widened by ``off``."""
        return self._compare(checks.within, name, observed, interval, off, where)

    def distance(
        self, name: str, observed: ArrayLike, expected: ArrayLike, off: float, where: str = ""
    ) -> Check:
        """Check that arrays are no further apart than ``off``, in the Frobenius norm."""
        return self._compare(checks.distance, name, observed, expected, off, where)

    def distances(
        self,
        name: str,
        observed: Iterable[ArrayLike],
        expected: Iterable[ArrayLike],
        offs: Iterable[float],
        labels: Iterable[str],
    ) -> Iterator[Check]:
        """Check the same of as many arrays as each of the sequences has, and name each array."""
        for seen, due, off, where in zip(observed, expected, offs, labels, strict=False):
            yield self.distance(name, seen, due, off, where)

    def all_close(
        self,
        name: str,
        observed: ArrayLike,
        expected: ArrayLike,
        off: float,
        axes: Sequence[str] = (),
        where: str = "",
    ) -> Check:
        """Check ``|observed - expected| ≤ off`` of every entry; the axes count them."""
        return self._compare(checks.all_close, name, observed, expected, off, where, axes=axes)

    def each_close(
        self,
        name: str,
        observed: ArrayLike,
        expected: ArrayLike,
        offs: ArrayLike,
        labels: Sequence[str] = (),
    ) -> Check:
        """Check ``|observed - expected| ≤ off``, every entry by its own; labels name entries."""
        return checks.each_close(
            self._named(name),
            observed,
            expected,
            offs,
            self.derivation,
            source=self.source,
            labels=labels,
        )

    def _compare(
        self,
        comparison: Callable[..., Check],
        name: str,
        observed: ArrayLike,
        expected: ArrayLike,
        off: float,
        where: str,
        **more: Any,
    ) -> Check:
        return comparison(
            self._named(name),
            observed,
            expected,
            Tolerance(off, self.derivation),
            source=self.source,
            where=where,
            **more,
        )

    def _named(self, name: str) -> str:
        return f"{self.label}: {name}" if self.label else name
