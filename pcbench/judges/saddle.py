"""The Hessians of loss and energy at a critical point, against what a theorem says they are.

Where a Hessian can be written down it is compared entry by entry, and its whole spectrum; where it
is too large, the ends of its spectrum are. Also the energy's Hessian during inference, if asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any, get_args

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeInt, PositiveFloat
from scipy.sparse import csr_array

from pcbench import checks
from pcbench.case import CaseParameters, CaseSkippedError, Columns, Context, Finding, Omission
from pcbench.checks import Check
from pcbench.contract import (
    ExactInference,
    GaussNewtonInference,
    Hessian,
    InferenceSettings,
    Objective,
)
from pcbench.judges.answers import Subject
from pcbench.judges.basis import Basis, folded
from pcbench.judges.hessian import block_eigenvalues, extremes_series, ghosts, numbers_missing
from pcbench.judges.problem import Problem
from pcbench.judges.reported import layers
from pcbench.networks import NetworkSpec
from pcbench.spectra import HessianOperator, NotNumbersError, dense, extreme_eigenpairs
from pcbench.theory.linear.saddles import Steps
from pcbench.theory.rounding.bounds import (
    direct_solve_residual,
    hessian_rounding,
    unfinished_inference,
    unit_roundoff,
)
from pcbench.theory.rounding.perturbation import equilibrium_rounding

# A dense Hessian of so many parameters takes 3.2 GB; beyond, the ends of its spectrum are compared.
MAX_PARAMETERS = 20_000
# Rows of the Hessian asked for at a time: enough to keep a backend busy, few enough that the
# vectors stay small beside the Hessian itself.
ROWS = 256


def refuse_sigmoid(name: object) -> object:
    """Say why, where a name that is known would only be called unknown."""
    if name == "sigmoid":
        raise ValueError(
            "the sigmoid is not 0 at 0, so the origin is not a critical point of its network; "
            "use tanh, relu, leaky_relu or silu"
        )
    return name


def saddle_inference(network: NetworkSpec) -> InferenceSettings:
    """Return how the equilibrium is found: exactly where the network is linear.

    At the origin of a non-linear one, feedforward activities are the equilibrium already.
    """
    return ExactInference() if network.is_linear else GaussNewtonInference(residual=1e-8)


class DuringParameters(CaseParameters):
    """After which steps of gradient inference the Hessian of the energy is looked at."""

    steps: list[NonNegativeInt] = Field(
        default=[0, 1, 2, 5, 10, 20, 50],
        min_length=1,
        description="Numbers of steps, from the feedforward activities.",
    )
    step: PositiveFloat = Field(
        0.1, lt=2, description="Δt; below 2, or steps diverge at any point."
    )


@dataclass(frozen=True, slots=True)
class Theorem:
    """What a theorem says about the Hessians at a critical point.

    ``hessian`` is the whole matrix of an objective and ``spectrum`` all of its eigenvalues,
    ascending, found on another way; ``ends`` are the least and the largest of them. The least
    eigenvalue of the energy does not exceed ``bound``. ``during`` is the energy's Hessian after
    some steps of gradient inference.
    """

    source: str
    hessian: Callable[[Objective], csr_array]
    spectrum: Callable[[Objective], Float[np.ndarray, " P"]]
    ends: Callable[[Objective], tuple[float, float]]
    bound: float
    during: Callable[[Steps], csr_array]


def saddle_findings(
    context: Context, problem: Problem, theorem: Theorem, during: DuringParameters | None
) -> Iterator[Finding]:
    """Check that a point is critical, then the Hessian of each objective there.

    Where the dtype cannot tell whether the saddle is strict, the case is skipped.
    """
    size = problem.network.n_parameters
    whole = size <= MAX_PARAMETERS
    looks: list[tuple[Steps, csr_array]] = []
    if during and whole:
        counted = [Steps(number, during.step) for number in during.steps]
        looks = [(steps, theorem.during(steps)) for steps in counted]
    elif during:
        yield Omission(
            "Hessians during inference",
            f"they are whole, of up to {MAX_PARAMETERS:,} parameters, and this network "
            f"has {size:,}; give fewer units",
        )
    judge = _SaddleJudge(context, problem, theorem)
    yield from judge.critical_point()
    if not whole:
        yield from judge.ends()
        return
    for objective in get_args(Objective):
        yield from judge.whole(objective)
    yield from judge.during_inference(looks)
    rows = np.arange(min(ROWS, size))
    yield context.measure(
        f"{len(rows)} Hessian-vector products of the energy", lambda: judge.rows("energy", rows)
    )
    if judge.unresolved:  # only now: a fault found by any other check must not be passed over
        raise CaseSkippedError("; ".join(judge.unresolved))


class _SaddleJudge:
    """Compares gradients and Hessians of loss and energy at one point with closed forms."""

    def __init__(self, context: Context, problem: Problem, theorem: Theorem) -> None:
        self._context, self._problem, self._theorem = context, problem, theorem
        self._subject = Subject(context.backend, problem)
        self.unresolved: list[str] = []
        self._u = unit_roundoff(context.backend.dtype)
        self._at = problem.weights, problem.x, problem.y
        self._rounding = hessian_rounding(*self._at, self._u)
        self._basis = self._by(f"rounding at u = {self._u:.2g} through this network (theory.md 4)")
        self._weyl = self._by(f"Weyl's inequality and {self._basis.derivation}")

    def _by(self, derivation: str) -> Basis:
        return Basis(self._theorem.source, derivation)

    def _activities(self) -> list[Any]:
        """Ask for the equilibrium, on the device, with the output clamped."""
        reached = self._subject.relax(saddle_inference(self._problem.network))
        return [*reached.activities[:-1], self._subject.batch[1]]

    def _operator(self, hessian: Hessian[Any]) -> HessianOperator:
        return HessianOperator(self._context.backend, hessian, self._problem.network.n_parameters)

    @cached_property
    def _operators(self) -> dict[Objective, HessianOperator]:
        model = self._subject.model
        return {
            "loss": self._operator(model.loss_hessian(*self._subject.batch)),
            "energy": self._operator(model.energy_hessian(self._activities())),
        }

    @folded
    def critical_point(self) -> Iterator[Check]:
        """Check that the gradients of both objectives are zero, layer by layer.

        The tolerance is the rounding of the energy's gradients at equilibrium. It serves the loss
        too: at a point with ``W_L = 0`` the two gradients are the same sums. The energy's
        activities may also come from a direct solution for all of them, which leaves something
        where the two passes keep factors of zero.
        """
        model = self._subject.model
        bounds = equilibrium_rounding(*self._at, self._u).gradients
        solved = unfinished_inference(*self._at, direct_solve_residual(*self._at, self._u))
        sums = [sum(each) for each in zip(bounds, solved.gradients, strict=True)]
        for objective, gradients, off in (
            ("loss", model.loss_gradients(*self._subject.batch), bounds),
            ("energy", model.energy_gradients(self._activities()), sums),
        ):
            name, zeros = f"critical point of the {objective}", [0 * w for w in self._at[0]]
            seen = map(self._subject.host, gradients)
            for each in zip(seen, zeros, off, layers(len(zeros)), strict=True):
                yield self._basis.distance(name, *each)

    def whole(self, objective: Objective) -> Iterator[Finding]:
        """Compare entries, eigenvalues and strictness with what the theory has for them.

        Entries are compared some rows at a time. Where one is not even a number, or a row has the
        wrong length, there is no spectrum. Where the dtype cannot tell whether the saddle is
        strict, ``unresolved`` says so.
        """
        size, shapes = self._problem.network.n_parameters, self._problem.network.shapes
        due, worst = self._theorem.hessian(objective), checks.Worst()
        observed, starts = np.empty((size, size)), range(0, size, ROWS)
        for start in self._context.progress(f"Hessian of the {objective}", starts, len(starts)):
            rows = np.arange(start, min(start + ROWS, size))
            block = self.rows(objective, rows)
            worst.add(
                self._basis.all_close(
                    f"Hessian entries of the {objective}",
                    block,
                    due[rows].toarray(),
                    self._rounding.entry,
                    entry=partial(entry_name, shapes, start),
                )
            )
            if block.shape != (len(rows), size):
                yield from worst
                return
            observed[rows] = block
        yield from worst
        if not np.isfinite(observed).all():
            return
        eigenvalues, expected = block_eigenvalues(observed), self._theorem.spectrum(objective)
        off = self._rounding.eigenvalue
        name = f"Hessian spectrum of the {objective}"
        yield self._weyl.all_close(name, eigenvalues, expected, off, ["eigenvalue"])
        least, name = eigenvalues[0], f"strict saddle of the {objective}"
        # The closed form is zero up to the float64 rounding of its own evaluation.
        own = hessian_rounding(*self._at, unit_roundoff("float64")).eigenvalue
        if expected[0] < -2 * off:
            yield self._weyl.below(name, least, 0.0, off)
        elif expected[0] < -own:
            self.unresolved.append(
                f"the least curvature of the {objective} is {expected[0]:.2g}, less than rounding "
                f"in {self._context.backend.dtype} can resolve ({off:.2g})"
            )
        else:
            yield self._weyl.at_least(f"no {name}", least, 0.0, off)
        if objective == "energy":
            name = "least curvature of the energy"
            yield self._weyl.at_most(name, least, self._theorem.bound, off)
        yield Columns(f"spectrum of the {objective}", _levels(eigenvalues, expected, off))

    def ends(self) -> Iterator[Finding]:
        """Compare the ends of both spectra, as far as products of a backend are numbers."""
        context, rounding = self._context, self._rounding.eigenvalue
        of_pair = self._by(
            f"residual of the eigenpair, and rounding at u = {self._u:.2g} (theory.md 4)"
        )
        for objective in context.progress("extreme eigenvalues", get_args(Objective), 2):
            operator = self._operators[objective]
            size, rng = operator.shape[0], context.rng(f"a vector for the {objective}")
            image = operator.matmat(rng.standard_normal((size, 1)))
            missing = size - int(np.isfinite(image).sum()) if image.shape == (size, 1) else size
            yield numbers_missing(objective, missing, size)
            if missing:
                return
            try:
                rng = context.rng(f"extremes of the {objective}")
                found = extreme_eigenpairs(operator, rng, count=2)
            except NotNumbersError:
                yield numbers_missing(objective, size, size)
                return
            yield ghosts(f"different eigenvectors of the {objective}", found)
            least, ends = found.least, self._theorem.ends(objective)
            for end, pair, expected in zip(
                ("least", "largest"), (least, found.largest), ends, strict=True
            ):
                name = f"{end} eigenvalue of the {objective}"
                yield of_pair.approx(name, pair.value, expected, pair.residual + rounding)
            # A Rayleigh quotient is no less than the least eigenvalue, however the iteration ended.
            if ends[0] < -2 * rounding:
                rounded = self._by(f"rounding at u = {self._u:.2g} (theory.md 4)")
                name = f"strict saddle of the {objective}"
                yield rounded.below(name, least.value, 0.0, rounding)
            if objective == "energy":
                name, off = "least curvature of the energy", least.residual + rounding
                yield of_pair.at_most(name, least.value, self._theorem.bound, off)
            yield extremes_series(objective, found)
        model, batch = self._subject.model, self._subject.batch
        yield context.measure("loss gradients", lambda: model.loss_gradients(*batch))

        def extremes() -> object:
            operator = self._operator(model.energy_hessian(self._activities()))
            return extreme_eigenpairs(operator, context.rng("extremes of the energy"))

        yield context.measure("extreme eigenvalues of the energy", extremes)

    def during_inference(self, looks: Sequence[tuple[Steps, csr_array]]) -> Iterator[Finding]:
        """Compare entries of the energy's Hessian through the steps of inference so far."""
        worst, shapes, (x, y) = checks.Worst(), self._problem.network.shapes, self._subject.batch
        basis = self._by(f"{self._basis.derivation}, in every step, forth and back")
        least: list[tuple[float, float]] = []
        for steps, expected in self._context.progress("during inference", looks, len(looks)):
            hessian = self._subject.model.unrolled_hessian(x, y, steps.number, steps.step)
            observed = dense(self._operator(hessian))
            worst.add(
                basis.all_close(
                    "Hessian entries during inference",
                    observed,
                    expected.toarray(),
                    # Steps that contract add their rounding, no more.
                    self._rounding.entry * (1 + 2 * steps.number),
                    where=f"after {steps.number} steps",
                    entry=partial(entry_name, shapes, 0),
                )
            )
            if np.isfinite(observed).all():
                least.append((steps.number, block_eigenvalues(observed)[0]))
        yield from worst
        if least:
            names = ("steps", "least eigenvalue")
            yield Columns.of_rows("least curvature during inference", names, least)

    def rows(self, objective: Objective, rows: Int[np.ndarray, " K"]) -> Float[np.ndarray, "..."]:
        """Ask the backend for rows of a Hessian."""
        operator = self._operators[objective]
        vectors = np.zeros((len(rows), operator.shape[0]))
        vectors[np.arange(len(rows)), rows] = 1.0
        return np.asarray(operator.matmat(vectors.T).T)


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
    observed: Float[np.ndarray, " P"], expected: Float[np.ndarray, " P"], tolerance: float
) -> dict[str, list[float]]:
    """Fold spectra into levels: expected eigenvalues that the tolerance cannot tell apart."""
    levels = np.split(np.arange(len(expected)), np.flatnonzero(np.diff(expected) > tolerance) + 1)
    return {
        "expected": [float(expected[level].mean()) for level in levels],
        "multiplicity": [float(len(level)) for level in levels],
        "observed from": [float(observed[level].min()) for level in levels],
        "observed to": [float(observed[level].max()) for level in levels],
    }
