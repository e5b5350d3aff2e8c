"""Observed against expected: the verdicts of pcbench.

A check compares one number that a backend produced with what the theory says it must be. Its
tolerance comes with a derivation (dtype, size and conditioning, or a confidence level), and its
*margin* says how far inside (positive) or outside (negative) the tolerance the number fell, in
units of the tolerance: 1 is dead on for an equality, 0 is at the edge, -1 is one tolerance outside.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pcbench.failures import out_of_bounds, too_far_apart
from pcbench.tolerances import Tolerance as Tolerance
from pcbench.tolerances import factor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy import float64
    from numpy.typing import ArrayLike, NDArray

Relation = Literal["≈", "≤", "≥", "<", "∈"]
CheckStatus = Literal["passed", "failed", "undecided"]
Finite = Annotated[float, Field(allow_inf_nan=False)]

_UNBOUNDED = "the judge's own float64 resolves too little of this problem to bound rounding."


class Check(BaseModel):
    """One verdict. Built by the functions of this module, and stored in the report as it is.

    ``observed``, ``expected`` and ``margin`` are ``None`` where the number is not finite, since
    strict JSON has no NaN; ``message`` then says what it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="What is compared, unique within its case.")
    status: CheckStatus
    observed: float | None = Field(description="What the backend produced.")
    relation: Relation = Field(description="How observed must stand to expected.")
    expected: Finite | tuple[Finite, Finite] | None = Field(
        description="What the theory demands; the two ends for '∈'."
    )
    tolerance: Finite | None = Field(
        gt=0, description="Absolute, in the units of observed; null where there is no bound."
    )
    derivation: str = Field(description="Where the tolerance comes from.")
    margin: float | None = Field(
        description="Distance to the edge of what is allowed, in tolerances; negative outside."
    )
    source: str = Field(description="The theorem or section that demands it.")
    where: str = Field("", description="The entry, layer or step that decided the verdict.")
    comparisons: int = Field(1, ge=1, description="How many comparisons this verdict sums up.")
    message: str = Field("", description="Why it did not pass, in a sentence; else empty.")

    @property
    def passed(self) -> bool:
        """Whether the check holds."""
        return self.status == "passed"

    @property
    def explanation(self) -> str:
        """The message and where it happened, in one sentence."""
        if not (self.message and self.where):
            return self.message
        return f"{self.message.removesuffix('.')} ({self.where})."

    def at(self, where: str) -> Check:
        """Return the same verdict, located further: ``where`` goes behind what stands there."""
        return self.model_copy(update={"where": f"{self.where}, {where}" if self.where else where})


def approx(
    name: str,
    observed: float,
    expected: float,
    tolerance: Tolerance,
    *,
    source: str,
    where: str = "",
) -> Check:
    """Check that ``|observed - expected| ≤ tolerance``."""
    excess, tolerance = abs(observed - expected), _multiplied(name, tolerance)
    return _check(name, observed, "≈", expected, excess, tolerance, source, where)


def at_most(
    name: str, observed: float, bound: float, tolerance: Tolerance, *, source: str, where: str = ""
) -> Check:
    """Check that ``observed ≤ bound + tolerance``."""
    tolerance = _multiplied(name, tolerance)
    return _check(name, observed, "≤", bound, observed - bound, tolerance, source, where)


def at_least(
    name: str, observed: float, bound: float, tolerance: Tolerance, *, source: str, where: str = ""
) -> Check:
    """Check that ``observed ≥ bound - tolerance``."""
    tolerance = _multiplied(name, tolerance)
    return _check(name, observed, "≥", bound, bound - observed, tolerance, source, where)


def below(
    name: str, observed: float, bound: float, tolerance: Tolerance, *, source: str, where: str = ""
) -> Check:
    """Check that ``observed < bound`` beyond doubt: ``observed ≤ bound - tolerance``.

    A least eigenvalue counts as negative only where it is so by more than its rounding.
    """
    tolerance = _multiplied(name, tolerance)
    return _check(name, observed, "<", bound, observed - bound, tolerance, source, where)


def within(
    name: str,
    observed: float,
    interval: tuple[float, float],
    tolerance: Tolerance,
    *,
    source: str,
    where: str = "",
) -> Check:
    """Check that ``observed`` lies in the closed interval widened by the tolerance."""
    low, high = interval
    excess, tolerance = max(low - observed, observed - high), _multiplied(name, tolerance)
    return _check(name, observed, "∈", (low, high), excess, tolerance, source, where)


def all_close(
    name: str,
    observed: ArrayLike,
    expected: ArrayLike,
    tolerance: Tolerance,
    *,
    source: str,
    where: str = "",
    axes: Sequence[str] = (),
    entry: Callable[..., str] | None = None,
) -> Check:
    """Check ``|observed - expected| ≤ tolerance`` entry by entry; report the worst entry.

    ``axes`` says what is counted along each axis: ``sample 3, input 5`` for ``entry (2, 4)``; or
    ``entry`` names it by its indices. A wrong shape is a wrong answer, and crashes no suite.
    """
    import numpy as np

    def place(*worst: int) -> str:
        if axes:
            return ", ".join(f"{axis} {i + 1}" for axis, i in zip(axes, worst, strict=True))
        if entry:
            return entry(*worst)
        return f"entry ({', '.join(map(str, worst))})" if worst else ""

    tolerance = _multiplied(name, tolerance)
    allowed = np.full(np.shape(expected), tolerance.value)
    return _worst_entry(name, observed, expected, allowed, tolerance, source, where, place)


def each_close(
    name: str,
    observed: ArrayLike,
    expected: ArrayLike,
    tolerances: ArrayLike,
    derivation: str,
    *,
    source: str,
    labels: Sequence[str] = (),
) -> Check:
    """Check ``|observed - expected| ≤ tolerance``, every entry by its own; report the worst one.

    All are arrays of one axis; an observed one of another shape fails. ``labels`` say what each
    entry is, such as a layer or a seed; without them it has its index.
    """
    import numpy as np

    allowed = np.asarray(tolerances, np.float64)
    if not (allowed > 0).all():
        raise ValueError(f"check {name!r} was given a tolerance that is not positive")

    def place(worst: int) -> str:
        return labels[worst] if labels else f"entry ({worst})"

    least = Tolerance(float(allowed.min(initial=1.0)), derivation)
    by = factor_of(name)
    allowed, least = allowed * (by.factor if by else 1.0), least.times(by)
    return _worst_entry(name, observed, expected, allowed, least, source, "", place)


def distance(
    name: str,
    observed: ArrayLike,
    expected: ArrayLike,
    tolerance: Tolerance,
    *,
    source: str,
    where: str = "",
) -> Check:
    """Check that two arrays are no further apart than the tolerance, in the Frobenius norm."""
    import numpy as np

    tolerance = _multiplied(name, tolerance)
    seen, wanted = np.asarray(observed, np.float64), np.asarray(expected, np.float64)
    if seen.shape != wanted.shape:
        return _misshapen(name, seen.shape, wanted.shape, tolerance, source, where)
    if seen.size == 0:
        raise ValueError(f"check {name!r} was given nothing to compare")
    with np.errstate(over="ignore", invalid="ignore"):  # a backend's numbers may be any
        apart, size = _norm(seen - wanted), _norm(wanted)
    bounded, known = math.isfinite(tolerance.value), bool(np.isfinite(wanted).all())
    if not bounded and (not known or np.isfinite(seen).all()):
        apart = 0.0  # undecided, though the norm may have overflowed
    if bounded and not (np.isfinite(apart) or known):
        raise ValueError(
            f"check {name!r} expects {wanted.sum()}: the theory must give a finite number"
        )
    verdict = _check(name, apart, "≤", 0.0, apart, tolerance, source, where)
    if verdict.status == "failed" and math.isfinite(apart):
        message = too_far_apart(name, apart, size, tolerance.value)
        return verdict.model_copy(update={"message": message})
    return verdict


def _norm(array: NDArray[float64]) -> float:
    """Return the Frobenius norm, also where squares leave the range of float64."""
    import numpy as np

    norm = float(np.linalg.norm(array))
    if 1e-140 < norm < math.inf or not array.any():
        return norm
    return math.hypot(*array.ravel())  # it scales before it squares


def _worst_entry(
    name: str,
    observed: ArrayLike,
    expected: ArrayLike,
    allowed: NDArray[float64],
    tolerance: Tolerance,
    source: str,
    where: str,
    place: Callable[..., str],
) -> Check:
    """Compare entry by entry; of ``tolerance`` all but the value holds for every entry."""
    import numpy as np

    seen, wanted = np.asarray(observed, np.float64), np.asarray(expected, np.float64)
    if seen.shape != wanted.shape:
        return _misshapen(name, seen.shape, wanted.shape, tolerance, source, where)
    if seen.size == 0:
        raise ValueError(f"check {name!r} was given nothing to compare")
    # What has no bound hides no failure; and NaN is the worst answer there is.
    bounded = np.isfinite(allowed)
    off = np.where(np.isfinite(seen) | ~np.isfinite(wanted), 0.0, math.inf)
    with np.errstate(over="ignore", invalid="ignore"):  # a backend's numbers may be any
        off[bounded] = np.abs(seen - wanted)[bounded] / allowed[bounded]
    # A NaN is the worst entry there is; argmax stops at the first one.
    flat = int(np.argmax(off))
    if off.ravel()[flat] <= 1 and not bounded.all():
        flat = int(np.argmin(bounded))
    worst = np.unravel_index(flat, seen.shape)
    one, other = float(seen[worst]), float(wanted[worst])
    tolerance = replace(tolerance, value=float(allowed[worst]))
    where = ", ".join(part for part in (where, place(*map(int, worst))) if part)
    verdict = _check(name, one, "≈", other, abs(one - other), tolerance, source, where)
    return verdict.model_copy(update={"comparisons": seen.size})


class Worst:
    """Folds the same checks, made at many steps, into one verdict each: the one nearest the edge.

    The report keeps, for each name, the comparison with the least margin, where it happened, and
    how many there were: a failure is never averaged away, and none is hidden by what is undecided.
    """

    def __init__(self) -> None:
        self._folded: dict[str, tuple[Check, int]] = {}

    def add(self, *checks: Check) -> None:
        """Take more comparisons in."""
        for check in checks:
            worst, seen = self._folded.get(check.name, (check, 0))
            self._folded[check.name] = min(worst, check, key=_rank), seen + check.comparisons

    def __iter__(self) -> Iterator[Check]:
        for check, comparisons in self._folded.values():
            yield check.model_copy(update={"comparisons": comparisons})


def undecided(name: str, reason: str, *, source: str, where: str = "") -> Check:
    """Say that no verdict can be given, neither way, and why: ``reason`` is a whole sentence."""
    factor_of(name)  # which has been met
    return _record(name, None, "≈", None, None, None, source, where, reason, status="undecided")


def unmultiplied(check: Check) -> float:
    """Return the tolerance of a check as it is without a suite's factor; infinite where none is."""
    factor = factor_of(check.name)
    return (check.tolerance or math.inf) / (factor.factor if factor else 1.0)


def all_passed(checks: Iterable[Check]) -> bool:
    """Whether every one of the checks holds."""
    return all(check.passed for check in checks)


def _multiplied(name: str, tolerance: Tolerance) -> Tolerance:
    """Return the tolerance that a check has in this suite."""
    return tolerance.times(factor_of(name))


def _rank(check: Check) -> tuple[int, float]:
    """Order verdicts from worst to best: failed before undecided before passed, then by margin."""
    margin = -math.inf if check.margin is None else check.margin
    return ("failed", "undecided", "passed").index(check.status), margin


def _check(
    name: str,
    observed: float,
    relation: Relation,
    expected: float | tuple[float, float],
    excess: float,
    tolerance: Tolerance,
    source: str,
    where: str,
) -> Check:
    """Judge a number; ``excess`` is how far it is beyond what is expected, negative inside."""
    ends = expected if isinstance(expected, tuple) else (expected,)
    known = all(map(math.isfinite, ends))
    if not math.isfinite(tolerance.value) and (math.isfinite(observed) or not known):
        return undecided(name, f"{name}: {_UNBOUNDED}", source=source, where=where)
    if not known:
        raise ValueError(f"check {name!r} expects {expected}: the theory must give a finite number")
    if not math.isfinite(observed):
        message = f"{name}: the backend answered {observed}."
        return _record(name, None, relation, expected, None, tolerance, source, where, message)
    # What has to be below a bound beyond doubt has to be so by the tolerance.
    slack = (-tolerance.value if relation == "<" else tolerance.value) - excess
    margin = slack / tolerance.value
    message = ""
    if margin < 0:
        message = out_of_bounds(name, observed, relation, expected, -slack, tolerance.unit)
    return _record(name, observed, relation, expected, margin, tolerance, source, where, message)


def _record(
    name: str,
    observed: float | None,
    relation: Relation,
    expected: float | tuple[float, float] | None,
    margin: float | None,
    tolerance: Tolerance | None,
    source: str,
    where: str,
    message: str,
    status: CheckStatus | None = None,
) -> Check:
    return Check(
        name=name,
        status=status or ("failed" if message else "passed"),
        observed=observed,
        relation=relation,
        expected=expected,
        tolerance=tolerance.value if tolerance and math.isfinite(tolerance.value) else None,
        derivation=tolerance.derivation if tolerance else "",
        margin=margin if margin is not None and math.isfinite(margin) else None,
        source=source,
        where=where,
        message=message,
    )


def _misshapen(
    name: str,
    seen: tuple[int, ...],
    wanted: tuple[int, ...],
    tolerance: Tolerance,
    source: str,
    where: str,
) -> Check:
    message = f"{name}: the backend answered with shape {seen} where {wanted} is due."
    return _record(name, None, "≈", None, None, tolerance, source, where, message)
