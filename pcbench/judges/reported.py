"""Checks on what an answer is made of, and on what it reports about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest

import numpy as np
from jaxtyping import Float, Num

from pcbench import checks
from pcbench.checks import Check, Tolerance
from pcbench.contract import (
    ErrorInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
    OdeInference,
)
from pcbench.judges.answers import InferenceResult
from pcbench.judges.problem import Problem
from pcbench.theory.nonlinear.curvature import largest_curvatures
from pcbench.theory.nonlinear.inference_steps import Rule, inference_steps
from pcbench.theory.nonlinear.layered import feedforward

DEFINITION = "definitions of energy and loss (theory.md 1)"
STATIONARITY = "stationarity in the activities (theory.md 2.2)"
CONTRACT = "the contract of a backend (pcbench/contract/backend.py)"
STARTS_AT_THE_LOSS = "inference begins at the feedforward activities, where the energy is the loss"
UNFINISHED = "inference that stops early is not at equilibrium (theory.md 2.3)"
EDGE = "what the dtype can hold (theory.md 4)"
_RISEN = 1.05
"""Of the first energy: short steps never lead up, and rounding makes nothing of the kind."""

_TRIED = 2_000
"""At most this many steps are taken by the theory."""

_YES_OR_NO = Tolerance(0.5, "it is so or it is not")


def counted(unit: str) -> Tolerance:
    """Return the tolerance of a count, with what is counted, in the plural."""
    return Tolerance(0.5, "a count is right or it is not", unit)


def counts_match(
    name: str,
    observed: float | int,
    expected: float | int,
    unit: str,
    source: str = CONTRACT,
    where: str = "",
    by: Callable[..., Check] = checks.approx,
) -> Check:
    """Check a count, or compare it otherwise; the unit is what is counted, in the plural."""
    return by(name, float(observed), float(expected), counted(unit), source=source, where=where)


def well_formed(
    name: str,
    due: Iterable[tuple[Float[np.ndarray, "..."] | None, tuple[int, ...] | None]],
    *,
    finite: bool = True,
    things: str = "answers",
) -> Check:
    """Check that every array is there with the shape that is due and, if asked, finite numbers."""
    due = list(due)
    malformed = sum(
        array is None or array.shape != shape or (finite and not np.isfinite(array).all())
        for array, shape in due
    )
    return none_of(name, malformed, len(due), things)


def arrived(
    settings: IterativeInference,
    residual: Float[np.ndarray, ""],
    sample_residuals: Float[np.ndarray, " N"] | None,
) -> bool:
    """Whether an answer with these residuals may call itself converged.

    Gauss-Newton treats samples one by one, and has to bring every one of them there.
    """
    if isinstance(settings, GaussNewtonInference) and sample_residuals is not None:
        return bool(np.max(sample_residuals) <= settings.residual)
    return bool(residual <= settings.residual)


def diverged(
    label: str,
    energy: float,
    steps: int,
    bound: float,
    explanation: str = "",
    *,
    excused: bool = False,
) -> Check:
    """Fail an answer of inference that diverged; where that is excused, the check is undecided.

    ``label`` goes before the name of the check; ``bound`` is what the energy should be at most;
    ``explanation`` goes on with what happened.
    """
    name = f"{label}finite energy"
    story = f"{label}inference diverged: after {steps} steps the energy is {energy:.3g}"
    if excused:
        return checks.undecided(name, f"{story}{explanation}.", source=STARTS_AT_THE_LOSS)
    # It fails also where another part of the answer is what is not finite.
    seen = np.nan if energy <= bound + _YES_OR_NO.value else energy
    failed = checks.at_most(name, seen, bound, _YES_OR_NO, source=STARTS_AT_THE_LOSS)
    if np.isfinite(energy) and not explanation:
        story += ", and an answer is not finite"
    return failed.model_copy(update={"message": f"{story}{explanation}."})


def diverges_in_theory(
    problem: Problem, settings: GradientInference | ErrorInference, steps: int
) -> tuple[bool, str]:
    """Say whether steps of that size lead up in theory as well, and explain it."""
    network, in_errors = problem.layered, isinstance(settings, ErrorInference)
    rule = Rule(
        settings.step,
        min(max(steps, 1), _TRIED, settings.max_steps),
        halve=getattr(settings, "halve", False),
        smallest=getattr(settings, "smallest_step", 0.0),
        in_errors=in_errors,
    )
    with np.errstate(all="ignore"):
        taken = inference_steps(network, problem.x, problem.y, rule, problem.precision)
        energies = taken.energies.sum(axis=1)
    size = f"; steps of {settings.step:.3g}"
    if not in_errors:
        start = [*feedforward(network, problem.x)[:-1], problem.y]
        most = float(largest_curvatures(network, start, problem.precision).max())
        size += f", where 2/λ_max is {2 / most:.3g} at the start,"
    # Steps that are halved may lead up at first, and count by where they end. NaN has risen.
    seen = energies[-1:] if rule.halve else energies
    if not (seen <= _RISEN * energies[0]).all():
        return True, f"{size} lead up in theory, too; ask for a smaller step"
    return False, f"{size} do not lead up in theory"


def differing(
    name: str,
    ones: Sequence[Num[np.ndarray, "..."]],
    others: Sequence[Num[np.ndarray, "..."]],
    *,
    extra: bool = False,
) -> Check:
    """Count numbers that differ; what is not a number is the same as itself."""
    differing = int(extra)
    for one, other in zip_longest(ones, others):
        if one is None or other is None or one.shape != other.shape:
            differing += 1
        else:
            differing += int(np.sum((one != other) & ~(np.isnan(one) & np.isnan(other))))
    return none_of(name, differing, int(extra) + sum(one.size for one in ones), "numbers")


def none_of(
    name: str, count: int, total: int, things: str, *, source: str = CONTRACT, where: str = ""
) -> Check:
    """Check that of ``total`` things, named in the plural, none is as ``name`` says."""
    check = checks.at_most(name, count, 0, counted(things), source=source, where=where)
    message = "" if check.passed else f"{name}: {count} of {total} {things}; none is allowed."
    return check.model_copy(update={"message": message})


def as_reported(name: str, told: bool, reached: bool, where: str = "") -> Check:
    """Check that an answer calls itself converged where its residual is small, and only there."""
    check = checks.approx(
        name, float(told), float(reached), _YES_OR_NO, source=CONTRACT, where=where
    )
    said, has = "converged" if told else "not converged", "has" if reached else "has not"
    message = f"{name}: the answer says that it has {said}; by its residual it {has}."
    return check if check.passed else check.model_copy(update={"message": message})


def reported(label: str, result: InferenceResult, settings: InferenceSettings) -> Iterator[Check]:
    """Check whether inference says rightly that it converged, and how many steps it took."""
    reached, most = True, 0
    if isinstance(settings, IterativeInference):
        reached = arrived(settings, result.residual, result.sample_residuals)
        most = settings.max_steps
    yield as_reported(f"{label}: converged as reported", result.converged, reached)
    yield checks.within(
        f"{label}: steps", result.steps, (0, most), counted("steps"), source=CONTRACT
    )


def budget_spent(
    check: Check, settings: InferenceSettings, result: InferenceResult, residual: float
) -> Check:
    """Call a residual that was not reached by its cause, where inference itself says so.

    ``residual`` is relative to where inference began. A check that passed stays as it is, and so
    does one of an answer that calls itself converged: there the number is wrong, and no budget.
    """
    if not isinstance(settings, IterativeInference) or check.status != "failed" or result.converged:
        return check
    spent = f"the budget of inference (max_steps {settings.max_steps}) was spent"
    if result.steps < settings.max_steps:
        spent = f"inference ended after {result.steps} of {settings.max_steps} steps"
        if isinstance(settings, OdeInference):  # which does not tell the time that it has reached
            spent += f", by itself or at max_time {settings.max_time:g},"
    message = (
        f"{check.name}: {spent} before the residual was reached; it is {residual:.3g} of where it "
        f"began, and {settings.residual:.3g} was asked for."
    )
    return check.model_copy(update={"message": message})


def layers(count: int) -> list[str]:
    """Name the entries of an array that has one a layer."""
    return [f"layer {number}" for number in range(1, count + 1)]


def array_names(arrays: Sequence[Float[np.ndarray, "..."]]) -> list[str]:
    """Name arrays of parameters, weights first, then biases: ``W_1``, …, ``b_1``, …."""
    weights = sum(array.ndim > 1 for array in arrays)
    biases = len(arrays) - weights
    return [f"W_{l + 1}" for l in range(weights)] + [f"b_{l + 1}" for l in range(biases)]
