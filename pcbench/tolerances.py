"""How far an observed number may be from what is expected, and by what a suite multiplies that."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

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


def _in_a_line(reason: str) -> str:
    if not (reason.strip() and reason.isprintable()):
        raise PydanticCustomError("due", "it must be {due}", {"due": "a reason, in a line"})
    return reason


class ToleranceFactor(BaseModel):
    """By what a suite multiplies the tolerance of a check, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float = Field(
        ge=1e-12,
        le=1e12,
        allow_inf_nan=False,
        description="Above 1 more is allowed; what must be below a bound (<) has to be so by more.",
    )
    reason: Annotated[str, AfterValidator(_in_a_line)] = Field(
        description="Shown in the report.", json_schema_extra={"pattern": r"^.*\S.*$"}
    )


ToleranceFactors = dict[str, ToleranceFactor]
"""By the name of a check, as a whole or what is behind its last colon: ``energy at equilibrium`` is
also that of ``exact: energy at equilibrium``."""


class Multiplied:
    """The factors that hold while checks are made, and the names of checks met so far."""

    def __init__(self, factors: Mapping[str, ToleranceFactor]) -> None:
        self.factors, self.met = factors, set[str]()

    def meet(self, check: str) -> ToleranceFactor | None:
        """Take note of a check that is being made, and return its factor if it has one."""
        names = (check, check.rpartition(": ")[2])
        self.met.update(names)
        return next((self.factors[name] for name in names if name in self.factors), None)

    @property
    def unused(self) -> list[str]:
        """Names of factors that no check has."""
        return [name for name in self.factors if name not in self.met]


_NOW: ContextVar[Multiplied | None] = ContextVar("multiplied", default=None)


@contextmanager
def multiplied(factors: Mapping[str, ToleranceFactor]) -> Iterator[Multiplied]:
    """Multiply the tolerances of checks that are made meanwhile.

    It has to be then, and not when the case is over: a case may go on only where a check holds.
    """
    now = Multiplied(factors)
    token = _NOW.set(now)
    try:
        yield now
    finally:
        _NOW.reset(token)


def factor_of(check: str) -> ToleranceFactor | None:
    """Return the factor of a check that is being made, and take note of it."""
    now = _NOW.get()
    return now.meet(check) if now else None
