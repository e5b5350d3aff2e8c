"""Hessians too large to be written down: their extreme eigenvalues against a closed form's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pcbench import checks
from pcbench.case import Columns, Context, Finding
from pcbench.checks import Tolerance
from pcbench.contract import Objective
from pcbench.judges.hessian.critical import critical_point_checks
from pcbench.judges.hessian.hessian import hessians
from pcbench.judges.hessian.products import ghosts
from pcbench.judges.problem import Problem
from pcbench.judges.reported import CONTRACT, none_of
from pcbench.spectra import Extremes, HessianOperator, NotNumbersError, extreme_eigenpairs
from pcbench.theory.rounding.bounds import hessian_rounding, unit_roundoff


@dataclass(frozen=True, slots=True)
class ClosedEnds:
    """The least and the largest eigenvalue, by a theorem.

    Attributes
    ----------
    bound
        What the least does not exceed, where the theorem says so.
    """

    least: float
    largest: float
    bound: float | None = None


def examine_ends(
    context: Context, problem: Problem, source: str, ends: dict[Objective, ClosedEnds]
) -> Iterator[Finding]:
    """Check that a point is critical, then both ends of the spectrum of each objective there."""
    backend = context.backend
    critical = checks.Worst()
    critical.add(*critical_point_checks(backend, problem, source))
    yield from critical
    u = unit_roundoff(backend.dtype)
    rounding = hessian_rounding(problem.weights, problem.x, problem.y, u).eigenvalue
    derivation = f"residual of the eigenpair, and rounding at u = {u:.2g} (theory.md 4)"
    found_hessians = hessians(backend, problem)
    stages = context.progress("extreme eigenvalues", ends.items(), len(ends))
    for objective, closed in stages:
        operator = HessianOperator(backend, found_hessians[objective], problem.network.n_parameters)
        numbers = _numbers(objective, operator, context.rng(f"a vector for the {objective}"))
        yield numbers
        if not numbers.passed:
            return
        try:
            rng = context.rng(f"extremes of the {objective}")
            found = extreme_eigenpairs(operator, rng, count=2)
        except NotNumbersError:
            yield numbers_missing(objective, operator.shape[0], operator.shape[0])
            return
        yield ghosts(f"different eigenvectors of the {objective}", found)
        for end, pair, expected in (
            ("least", found.least, closed.least),
            ("largest", found.largest, closed.largest),
        ):
            yield checks.approx(
                f"{end} eigenvalue of the {objective}",
                pair.value,
                expected,
                Tolerance(pair.residual + rounding, derivation),
                source=source,
            )
        # A Rayleigh quotient is no less than the least eigenvalue, however the iteration ended.
        quotient = Tolerance(rounding, f"rounding at u = {u:.2g} (theory.md 4)")
        if closed.least < -2 * rounding:
            yield checks.below(
                f"strict saddle of the {objective}", found.least.value, 0.0, quotient, source=source
            )
        if closed.bound is not None:
            yield checks.at_most(
                f"least curvature of the {objective}",
                found.least.value,
                closed.bound,
                Tolerance(found.least.residual + rounding, derivation),
                source=source,
            )
        yield extremes_series(objective, found)
    model = backend.build(problem.network, problem.parameters)
    x, y = backend.to_device(problem.x), backend.to_device(problem.y)
    yield context.measure("loss gradients", lambda: model.loss_gradients(x, y))
    yield context.measure(
        "extreme eigenvalues of the energy",
        lambda: extreme_eigenpairs(
            HessianOperator(
                backend, hessians(backend, problem)["energy"], problem.network.n_parameters
            ),
            context.rng("extremes of the energy"),
        ),
    )


def _numbers(
    objective: Objective, operator: HessianOperator, rng: np.random.Generator
) -> checks.Check:
    """Check that a product has as many entries as the vector, and all of them numbers."""
    size = operator.shape[0]
    image = operator.matmat(rng.standard_normal((size, 1)))
    missing = size - int(np.isfinite(image).sum()) if image.shape == (size, 1) else size
    return numbers_missing(objective, missing, size)


def numbers_missing(objective: Objective, missing: int, size: int) -> checks.Check:
    """Check that no product has entries that are missing, or no numbers, of so many."""
    name = f"Hessian products of the {objective}: missing numbers"
    return none_of(name, missing, size, "numbers", source=CONTRACT)


def extremes_series(objective: Objective, found: Extremes) -> Columns:
    """Eigenvalues from the outside in, with error bars, and what may have been missed."""
    rows = len(found.lowest)
    return Columns(
        f"extreme eigenvalues of the {objective}",
        {
            "least": [pair.value for pair in found.lowest],
            "residual of the least": [pair.residual for pair in found.lowest],
            "largest": [pair.value for pair in found.highest],
            "residual of the largest": [pair.residual for pair in found.highest],
            "missed at most": [found.missed] * rows,
            "products": [float(found.steps)] * rows,
        },
    )
