"""How far an observed number may be from what is expected, and by what a suite multiplies that."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far rounding, unfinished inference or sampling may carry an honest implementation.

    Parameters
    ----------
    value
        The absolute tolerance, positive, in the units of what is compared. Where it is infinite no
        bound is known: the check is undecided, unless the answer is no finite number where a finite
        one is due, which no rounding excuses. (Who asks has demanded a network that the dtype can
        hold before, by ``theory.demand_range``.)
    derivation
        Where the number comes from, in a line that a reader of the report can check.
    unit
        What is counted, in the plural, where the number is a count; messages name it.
    """

    value: float
    derivation: str
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.value > 0:  # nor if it is NaN
            raise ValueError(f"a tolerance is positive, not {self.value}")

    def times(self, factor: ToleranceFactor | None) -> Tolerance:
        """Return the tolerance multiplied, with the reason in its derivation."""
        if factor is None:
            return self
        derivation = f"{self.derivation}, times {factor.factor:g}: {factor.reason}"
        return replace(self, value=self.value * factor.factor, derivation=derivation)


class ToleranceFactor(BaseModel):
    """By what a suite multiplies the tolerance of a check, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float = Field(gt=0, le=1e12, allow_inf_nan=False, description="Above 1 it is wider.")
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="Shown in the report."
    )


ToleranceFactors = dict[str, ToleranceFactor]
"""By the name of a check, as a whole or what is behind its last colon: ``energy at equilibrium`` is
also that of ``exact: energy at equilibrium``."""


class _Multiplied:
    def __init__(self, factors: Mapping[str, ToleranceFactor]) -> None:
        self.factors, self.unused = factors, {*factors}


_MULTIPLIED: ContextVar[_Multiplied | None] = ContextVar("multiplied", default=None)


@contextmanager
def multiplied(factors: Mapping[str, ToleranceFactor]) -> Iterator[set[str]]:
    """Multiply the tolerances of checks that are made meanwhile; give the names not met so far.

    It has to be then, and not when the case is over: a case may go on only where a check holds.
    """
    now = _Multiplied(factors)
    token = _MULTIPLIED.set(now)
    try:
        yield now.unused
    finally:
        _MULTIPLIED.reset(token)


def factor_of(check: str) -> ToleranceFactor | None:
    """Return the factor of a check that is being made; ``None`` if it has none."""
    if (now := _MULTIPLIED.get()) is None:
        return None
    for name in (check, check.rpartition(": ")[2]):
        if name in now.factors:
            now.unused.discard(name)
            return now.factors[name]
    return None
