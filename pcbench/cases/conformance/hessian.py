"""Whether Hessians are those of the theory, symmetric, and derivatives of gradients.

Those through steps of inference are held against differences of the energy that the steps reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench import checks
from pcbench.case import CaseSkippedError
from pcbench.cases.conformance.evaluation import BY_DIFFERENCES, CARRIED, Line, first
from pcbench.checks import Check
from pcbench.contract import Backend, Hessian, Objective
from pcbench.judges.answers import Array, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.differences import second_derivative
from pcbench.judges.hessian import ProductJudge
from pcbench.judges.inference import of_parameters
from pcbench.judges.points import joined, split
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import differing
from pcbench.judges.training.step_expected import backpropagated
from pcbench.spectra import HessianOperator
from pcbench.theory.nonlinear.layered import (
    Layered,
    activity_residuals,
    energy_gradients,
    feedforward,
    layered_energies,
)
from pcbench.theory.nonlinear.second_order import NoEquilibriumError, relaxed_activities
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.stochastic import with_rounding

DIFFERENCES = "a Hessian is the derivative of the backend's own gradient"
_DIRECTIONS = 3
CURVATURE = Basis(
    "the energy after so many steps, differentiated twice (theory.md 2.3)",
    "what differences of two steps leave out, and rounding (theory.md 4.3)",
)
SYMMETRY = Basis("a Hessian is symmetric", "rounding in this network (theory.md 4.3)")
STEPS, STEP = 3, 0.05
_DRAWS = 8
# The judge's own differences are taken in float64, whatever the backend's dtype.
_H = unit_roundoff("float64") ** (1 / 6)
# Far above what differences in float64 are off by, and small enough to be a small change.
_LEAST_PROBE = 2.0**-24


def hessians(backend: Backend[Any], along: Line, rng: np.random.Generator) -> Iterator[Check]:
    """Ask for products of both Hessians at the centre of a line, at the judge's own equilibrium.

    Raises
    ------
    CaseSkippedError
        If there is no equilibrium there, or the dtype cannot tell a solution of its inner systems.
    """
    problem, dtype = along.centre, backend.dtype
    subject, equilibria = Subject(backend, problem), _equilibria(along)
    activities = [problem.x, *rounded(equilibria[0][1:-1], dtype), problem.y]
    staged = [subject.stage(z) for z in activities]
    found: dict[Objective, Hessian[Any]] = {
        "loss": subject.model.loss_hessian(*subject.batch),
        "energy": subject.model.energy_hessian(staged, *subject.batch[2:]),
    }
    gradients = {
        "loss": {
            k: joined(Subject(backend, there).loss_gradients())
            for k, there in along.problems.items()
        },
        "energy": _energy_gradients(backend, along, equilibria),
    }
    for objective, hessian in found.items():
        try:
            judge = ProductJudge(problem, objective, activities, dtype)
        except ValueError as error:
            raise CaseSkippedError(str(error)) from error
        operator = HessianOperator(backend, hessian, problem.network.n_parameters)
        vectors = rng.standard_normal((_DIRECTIONS, problem.network.n_parameters))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        made = list(judge.findings(operator, vectors))
        yield from made
        if backend.device == "cpu":
            pair = [[operator.matvec(vectors[0])] for _ in range(2)]
            yield differing("asked twice", *pair).at(f"Hessian of the {objective}")
        if len(made) == 1:  # no products to speak of
            continue
        yield from judge.solved(operator)
        off = _gradient_off(objective, backend, along, equilibria)
        check = _against_differences(objective, operator, judge, along, gradients[objective], off)
        if (
            check.status == "failed"
            and objective == "energy"
            and _ends_at_a_fold(along, equilibria)
        ):
            reason = f"{check.name}: along the line the equilibrium ends at a fold."
            check = checks.undecided(check.name, reason, source=DIFFERENCES)
        yield check


def _equilibria(along: Line) -> dict[int, list[Array]]:
    """Follow the equilibrium along the line, from its centre outwards."""
    found: dict[int, list[Array]] = {}
    for k in sorted(along.problems, key=abs):
        there = along.problems[k]
        start = found[0] if k else None
        try:
            found[k] = relaxed_activities(
                there.layered, there.x, there.y, there.precision, start=start
            )
        except NoEquilibriumError as error:
            raise CaseSkippedError(f"{error}; draw smaller networks") from error
    return found


def _energy_gradients(
    backend: Backend[Any], along: Line, equilibria: dict[int, list[Array]]
) -> dict[int, Array]:
    """Ask for gradients at equilibria as the dtype has them, and put right what that moved them."""
    found = {}
    for k, there in along.problems.items():
        z, network = equilibria[k], there.layered
        fitting = [there.x, *rounded(z[1:-1], backend.dtype), there.y]
        moved = _theirs(network, fitting, there.precision) - _theirs(network, z, there.precision)
        found[k] = joined(Subject(backend, there).energy_gradients(fitting)) - moved
    return found


def _theirs(network: Layered, activities: list[Array], precision: Array | None) -> Array:
    weights, biases = energy_gradients(network, activities, precision)
    return joined([*weights, *(biases or [])])


def _gradient_off(
    objective: Objective,
    backend: Backend[Any],
    along: Line,
    equilibria: dict[int, list[Array]],
) -> float:
    """Bound the rounding of a gradient on the line: at its ends, where it is largest."""
    u, offs = unit_roundoff(backend.dtype), []
    for k in (min(along.problems), max(along.problems)):
        there = along.problems[k]
        if objective == "loss":
            _, bounds = backpropagated(there, backend.dtype)
        else:
            rounding = layered_rounding(there.layered, equilibria[k], u, there.precision)
            bounds = of_parameters(rounding, there)
        offs.append(float(np.linalg.norm(bounds)))
    return max(offs)


def _against_differences(
    objective: Objective,
    operator: HessianOperator,
    judge: ProductJudge,
    along: Line,
    gradients: dict[int, Array],
    off: float,
) -> Check:
    """Compare the product with the line's step with differences of gradients."""
    step = joined(along.step)
    length = float(np.linalg.norm(step))
    due, left_out = first(gradients)
    own = judge.allowed(judge.product(step / length).rounding, operator.hessian.residual)
    return Basis(DIFFERENCES, BY_DIFFERENCES).distance(
        f"Hessian of the {objective} by differences",
        length * operator.matvec(step / length),
        due,
        left_out + CARRIED * off + own * length,
    )


def _ends_at_a_fold(along: Line, equilibria: dict[int, list[Array]]) -> bool:
    """Whether the theory's own gradients along the line change too abruptly for a derivative."""
    own = {
        k: _theirs(there.layered, equilibria[k], there.precision)
        for k, there in along.problems.items()
    }
    derivative, left_out = first(own)
    return left_out > float(np.linalg.norm(derivative)) / 2


def unrolled(backend: Backend[Any], problem: Problem, rng: np.random.Generator) -> Iterator[Check]:
    """Ask for curvatures along directions, and whether products are symmetric."""
    subject, size = Subject(backend, problem), problem.network.n_parameters
    x, y = subject.batch
    for steps in (0, STEPS):
        hessian = subject.model.unrolled_hessian(x, y, steps, STEP)
        operator = HessianOperator(backend, hessian, size)
        vectors = rng.standard_normal((2, size))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        products = np.asarray(operator.matmat(vectors.T), np.float64).T
        where, offs = f"{steps} steps", []
        for vector, product in zip(vectors, products, strict=True):
            due, left_out = _curvature(problem.layered, problem, steps, vector)
            offs.append(_rounding(problem, steps, vector, due, backend))
            yield CURVATURE.approx(
                "curvature through steps", vector @ product, due, left_out + offs[-1], where
            )
        yield SYMMETRY.approx(
            "symmetric Hessian through steps",
            vectors[0] @ products[1],
            vectors[1] @ products[0],
            2 * max(offs),
            where,
        )


def _energy(network: Layered, problem: Problem, steps: int) -> float:
    """Energy after steps ``z ← z - Δt ∂(N𝓕)/∂z`` from the feedforward activities."""
    activities = [*feedforward(network, problem.x)[:-1], problem.y]
    for _ in range(steps):
        slopes = activity_residuals(network, activities)
        hidden = [z - STEP * slope for z, slope in zip(activities[1:-1], slopes, strict=True)]
        activities = [problem.x, *hidden, problem.y]
    return float(layered_energies(network, activities).sum())


def _curvature(
    network: Layered, problem: Problem, steps: int, vector: Array
) -> tuple[float, float]:
    """``vᵀ H v`` by differences of fourth order, and how far it may be off."""
    direction = split(problem.network, vector)
    energies = {
        k: _energy(_moved(network, direction, k * _H), problem, steps)
        for k in (-4, -2, -1, 0, 1, 2, 4)
    }

    once, twice = (second_derivative(energies, _H, every) for every in (1, 2))
    # The energies' own rounding: sums of the weights' sizes, 16/3, of what a sum may be off by.
    numbers = sum(z.size for z in problem.parameters) * len(problem.x)
    off = CONFIDENCE * unit_roundoff("float64") * np.sqrt(2 * numbers)
    return once, abs(once - twice) + float(16 / 3 * off * (1 + max(energies.values())) / _H**2)


def _moved(network: Layered, direction: list[Array], t: float) -> Layered:
    layers = network.depth
    weights = [w + t * v for w, v in zip(network.weights, direction[:layers], strict=True)]
    if network.biases is None:
        return replace(network, weights=weights)
    biases = [b + t * v for b, v in zip(network.biases, direction[layers:], strict=True)]
    return replace(network, weights=weights, biases=biases)


def _rounding(
    problem: Problem, steps: int, vector: Array, due: float, backend: Backend[Any]
) -> float:
    """Try what relative errors in all that is given change, as for other products (theory.md 4.3).

    One number may change little by chance: the largest of several draws counts, and with it the
    curvature that the whole vector could have.
    """
    rng, u = np.random.default_rng(0), unit_roundoff(backend.dtype)
    network, direction = problem.layered, split(problem.network, vector)
    changes = []
    for _ in range(_DRAWS):
        erring, (x, y), moved = with_rounding(
            network, [problem.x, problem.y], direction, max(u, _LEAST_PROBE), rng
        )
        there = Problem(problem.network, problem.weights, x, y, problem.biases)
        found, _ = _curvature(erring, there, steps, joined(moved))
        changes.append(abs(found - due))
    return CONFIDENCE * max(changes) * u / max(u, _LEAST_PROBE)
