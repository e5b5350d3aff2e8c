"""A backend's whole Hessian, entry by entry and by its spectrum, against the theory's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from pcbench import checks
from pcbench.case import CaseSkippedError, Columns, Context, Finding
from pcbench.checks import Check, Tolerance
from pcbench.contract import Backend, Hessian, Objective
from pcbench.judges.hessian.critical import critical_point_checks, saddle_inference
from pcbench.judges.hessian.spectrum import block_eigenvalues
from pcbench.judges.problem import Problem
from pcbench.spectra import HessianOperator, dense
from pcbench.theory.linear.saddles import Steps
from pcbench.theory.rounding.bounds import hessian_rounding, unit_roundoff

# A dense Hessian of so many parameters takes 3.2 GB; beyond, its extremes are examined.
MAX_PARAMETERS = 20_000
# Rows of the Hessian asked for at a time: enough to keep a backend busy, few enough that the
# vectors stay small beside the Hessian itself.
ROWS = 256


@dataclass(frozen=True, slots=True)
class ClosedForms:
    """What a theorem says about the Hessian of one objective at a critical point.

    Attributes
    ----------
    hessian
        The whole matrix, ``(P, P)``.
    spectrum
        All eigenvalues, ascending, found on another way than from ``hessian``.
    bound
        What the least eigenvalue does not exceed, where the theorem says so.
    """

    hessian: scipy.sparse.csr_array
    spectrum: Float[np.ndarray, " P"]
    bound: float | None = None


def examine(
    context: Context,
    problem: Problem,
    source: str,
    forms: dict[Objective, ClosedForms],
    during: Sequence[DuringInference] = (),
) -> Iterator[Finding]:
    """Check that a point is critical, then the Hessian of each objective there.

    And of the energy ``during`` inference, where that is asked for.

    Raises
    ------
    CaseSkippedError
        If the dtype cannot tell whether the saddle is strict.
    """
    critical = checks.Worst()
    critical.add(*critical_point_checks(context.backend, problem, source))
    yield from critical
    judge = HessianJudge(context, problem, source)
    for objective, closed in forms.items():
        yield from judge.findings(objective, closed)
    yield from judge.during_inference(during)
    rows = np.arange(min(ROWS, problem.network.n_parameters))
    yield context.measure(
        f"{len(rows)} Hessian-vector products of the energy", lambda: judge.rows("energy", rows)
    )
    if judge.unresolved:  # only now: a fault found by any other check must not be passed over
        raise CaseSkippedError("; ".join(judge.unresolved))


def hessians(backend: Backend[Any], problem: Problem) -> dict[Objective, Hessian[Any]]:
    """Make the Hessians of loss and of energy at the equilibrium of a network at a saddle."""
    model = backend.build(problem.network, problem.weights)
    x, y = backend.to_device(problem.x), backend.to_device(problem.y)
    reached = model.infer(x, y, saddle_inference(problem.network))
    return {
        "loss": model.loss_hessian(x, y),
        "energy": model.energy_hessian([*reached.activities[:-1], y]),
    }


@dataclass(frozen=True, slots=True)
class DuringInference:
    """What the Hessian of the energy must be after so many steps of gradient inference.

    Attributes
    ----------
    steps
        How many, and of which length.
    hessian
        The whole matrix, ``(P, P)``.
    """

    steps: Steps
    hessian: scipy.sparse.csr_array


class HessianJudge:
    """Holds the Hessians of loss and energy at one point against closed forms.

    Parameters
    ----------
    context
        Lends the backend.
    problem
        The point in weight space, and the batch.
    source
        The theorem that the closed forms come from.
    """

    def __init__(self, context: Context, problem: Problem, source: str) -> None:
        self._context, self._source, self._problem = context, source, problem
        self.unresolved: list[str] = []
        backend = context.backend
        u = unit_roundoff(backend.dtype)
        self._rounding = hessian_rounding(problem.weights, problem.x, problem.y, u)
        self._derivation = f"rounding at u = {u:.2g} through this network (theory.md 4)"
        self._hessians = hessians(backend, problem)

    def findings(self, objective: Objective, closed: ClosedForms) -> Iterator[Finding]:
        """Compare entries, eigenvalues and strictness with what the theory has for them.

        Where an entry is not even a number, or a row has the wrong length, there is no spectrum.
        Where the dtype cannot tell whether the saddle is strict, ``unresolved`` says so.
        """
        observed, entries = self._compare_entries(objective, closed.hessian)
        yield from entries
        if observed is None or not np.isfinite(observed).all():
            return
        eigenvalues = block_eigenvalues(observed)
        tolerance = Tolerance(
            self._rounding.eigenvalue, f"Weyl's inequality and {self._derivation}"
        )
        yield checks.all_close(
            f"Hessian spectrum of the {objective}",
            eigenvalues,
            closed.spectrum,
            tolerance,
            source=self._source,
            axes=["eigenvalue"],
        )
        least, expected = float(eigenvalues[0]), float(closed.spectrum[0])
        yield from self._strictness(objective, least, expected, tolerance)
        if closed.bound is not None:
            yield checks.at_most(
                f"least curvature of the {objective}",
                least,
                closed.bound,
                tolerance,
                source=self._source,
            )
        levels = _levels(eigenvalues, closed.spectrum, tolerance)
        yield Columns(f"spectrum of the {objective}", levels)

    def during_inference(self, during: Sequence[DuringInference]) -> Iterator[Finding]:
        """Compare entries of the energy's Hessian through the steps of inference so far."""
        backend, worst = self._context.backend, checks.Worst()
        x, y = backend.to_device(self._problem.x), backend.to_device(self._problem.y)
        model = backend.build(self._problem.network, self._problem.weights)
        least = []
        for expected in self._context.progress("during inference", during, len(during)):
            number, step = expected.steps.number, expected.steps.step
            hessian = model.unrolled_hessian(x, y, number, step)
            operator = HessianOperator(backend, hessian, self._problem.network.n_parameters)
            observed, wanted = dense(operator), expected.hessian.toarray()
            allowed = self._rounding.entry * (1 + 2 * number)  # steps that contract add, no more
            worst.add(
                checks.all_close(
                    "Hessian entries during inference",
                    observed,
                    wanted,
                    Tolerance(allowed, f"{self._derivation}, in every step, forth and back"),
                    source=self._source,
                    where=f"after {number} steps",
                    entry=partial(entry_name, self._problem.network.shapes, 0),
                )
            )
            if np.isfinite(observed).all():
                least.append((float(number), float(block_eigenvalues(observed)[0])))
        yield from worst
        if least:
            steps, values = zip(*least, strict=True)
            yield Columns(
                "least curvature during inference",
                {"steps": list(steps), "least eigenvalue": list(values)},
            )

    def rows(self, objective: Objective, rows: Int[np.ndarray, " K"]) -> Float[np.ndarray, "..."]:
        """Ask the backend for rows of a Hessian."""
        vectors = np.zeros((len(rows), self._problem.network.n_parameters))
        vectors[np.arange(len(rows)), rows] = 1.0
        backend = self._context.backend
        return backend.to_host(self._hessians[objective].product(backend.to_device(vectors)))

    def _compare_entries(
        self, objective: Objective, hessian: scipy.sparse.csr_array
    ) -> tuple[Float[np.ndarray, "P P"] | None, checks.Worst]:
        size = self._problem.network.n_parameters
        tolerance = Tolerance(self._rounding.entry, self._derivation)
        worst, observed = checks.Worst(), np.empty((size, size))
        starts = range(0, size, ROWS)
        for start in self._context.progress(f"Hessian of the {objective}", starts, len(starts)):
            rows = np.arange(start, min(start + ROWS, size))
            block = self.rows(objective, rows)
            worst.add(
                checks.all_close(
                    f"Hessian entries of the {objective}",
                    block,
                    hessian[rows].toarray(),
                    tolerance,
                    source=self._source,
                    entry=partial(entry_name, self._problem.network.shapes, start),
                )
            )
            if block.shape != (len(rows), size):
                return None, worst
            observed[rows] = block
        return observed, worst

    def _strictness(
        self, objective: Objective, least: float, expected: float, tolerance: Tolerance
    ) -> Iterator[Check]:
        if expected < -2 * tolerance.value:
            yield checks.below(
                f"strict saddle of the {objective}", least, 0.0, tolerance, source=self._source
            )
            return
        # The closed form is zero up to the float64 rounding of its own evaluation.
        problem = self._problem
        judged = hessian_rounding(problem.weights, problem.x, problem.y, unit_roundoff("float64"))
        if expected < -judged.eigenvalue:
            self.unresolved.append(
                f"the least curvature of the {objective} is {expected:.2g}, less than rounding in "
                f"{self._context.backend.dtype} can resolve ({tolerance.value:.2g})"
            )
            return
        yield checks.at_least(
            f"no strict saddle of the {objective}", least, 0.0, tolerance, source=self._source
        )


def entry_name(shapes: Sequence[tuple[int, ...]], start: int, row: int, column: int) -> str:
    """Name an entry of a block of a Hessian, whose rows begin at ``start``, by its two weights.

    Such as ``W_2[3, 1] by W_1[0, 2]``, with rows and columns of weights counted from 0.
    """
    starts = np.cumsum([0, *map(prod, shapes)])
    names = []
    for index in (start + row, column):
        l = int(np.searchsorted(starts, index, side="right"))
        place = np.unravel_index(index - starts[l - 1], shapes[l - 1])
        names.append(f"W_{l}[{', '.join(map(str, place))}]")
    return " by ".join(names)


def _levels(
    observed: Float[np.ndarray, " P"], expected: Float[np.ndarray, " P"], tolerance: Tolerance
) -> dict[str, list[float]]:
    """Fold spectra into levels: expected eigenvalues that the tolerance cannot tell apart."""
    levels = np.split(
        np.arange(len(expected)), np.flatnonzero(np.diff(expected) > tolerance.value) + 1
    )
    return {
        "expected": [float(expected[level].mean()) for level in levels],
        "multiplicity": [float(len(level)) for level in levels],
        "observed from": [float(observed[level].min()) for level in levels],
        "observed to": [float(observed[level].max()) for level in levels],
    }
