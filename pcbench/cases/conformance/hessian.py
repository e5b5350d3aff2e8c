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
from pcbench.cases.conformance.evaluation import BY_DIFFERENCES, CARRIED, Line, first, line, step_of
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.checks import Check
from pcbench.contract import DType, Hessian, Objective
from pcbench.judges.answers import Array
from pcbench.judges.basis import Basis
from pcbench.judges.differences import second_derivative
from pcbench.judges.hessian import ProductJudge
from pcbench.judges.inference import of_parameters
from pcbench.judges.points import joined, split
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import differing
from pcbench.judges.training.step_expected import backpropagated
from pcbench.spectra import HessianOperator
from pcbench.theory.nonlinear.inference_steps import Rule, inference_steps
from pcbench.theory.nonlinear.layered import Layered, energy_gradients
from pcbench.theory.nonlinear.second_order import NoEquilibriumError, relaxed_activities
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.stochastic import with_rounding

DIFFERENCES = "a Hessian is the derivative of the backend's own gradient"
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


def hessians(subject: JudgedSubject, rng: np.random.Generator) -> Iterator[Check]:
    """Ask for products of both Hessians at the centre of a line, at the judge's own equilibrium.

    Raises a ``CaseSkippedError`` if there is none, or if the dtype cannot tell a solution of its
    inner systems.
    """
    dtype, backend = subject.dtype, subject.backend
    along = line(subject.problem, dtype, rng, short=True)
    problem, equilibria = along[0], _equilibria(along)
    subject, size = subject.at(problem), problem.network.n_parameters
    activities = [problem.x, *rounded(equilibria[0][1:-1], dtype), problem.y]
    staged = [subject.stage(z) for z in activities]
    found: dict[Objective, Hessian[Any]] = {
        "loss": subject.model.loss_hessian(*subject.batch),
        "energy": subject.model.energy_hessian(staged, *subject.batch[2:]),
    }
    gradients = {
        "loss": {k: joined(subject.at(p).loss_gradients()) for k, p in along.items()},
        "energy": _energy_gradients(subject, along, equilibria),
    }
    for objective, hessian in found.items():
        try:
            judge = ProductJudge(problem, objective, activities, dtype)
        except ValueError as error:
            raise CaseSkippedError(str(error)) from error
        operator, vectors = HessianOperator(backend, hessian, size), _unit_vectors(rng, 3, size)
        made = list(judge.findings(operator, vectors))
        yield from made
        if backend.device == "cpu":
            pair = [[operator.matvec(vectors[0])] for _ in range(2)]
            yield differing("asked twice", *pair).at(f"Hessian of the {objective}")
        if len(made) == 1:  # no products to speak of
            continue
        yield from judge.solved(operator)
        # The product with the line's step, against differences of gradients.
        step, (due, left_out) = joined(step_of(along)), first(gradients[objective])
        length = float(np.linalg.norm(step))
        _, rounding = judge.product(step / length)
        own = judge.allowed(rounding, operator.hessian.residual) * length
        off = CARRIED * _gradient_off(objective, dtype, along, equilibria)
        check = Basis(DIFFERENCES, BY_DIFFERENCES).distance(
            f"Hessian of the {objective} by differences",
            length * operator.matvec(step / length),
            due,
            left_out + off + own,
        )
        if (
            check.status == "failed"
            and objective == "energy"
            and _ends_at_a_fold(along, equilibria)
        ):
            reason = f"{check.name}: along the line the equilibrium ends at a fold."
            check = checks.undecided(check.name, reason, source=DIFFERENCES)
        yield check


def _unit_vectors(rng: np.random.Generator, count: int, size: int) -> Array:
    vectors = rng.standard_normal((count, size))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _equilibria(along: Line) -> dict[int, list[Array]]:
    """Follow the equilibrium along the line, from its centre outwards."""
    found: dict[int, list[Array]] = {}
    for k in sorted(along, key=abs):
        there = along[k]
        start = found[0] if k else None
        try:
            found[k] = relaxed_activities(
                there.layered, there.x, there.y, there.precision, start=start
            )
        except NoEquilibriumError as error:
            raise CaseSkippedError(f"{error}; draw smaller networks") from error
    return found


def _energy_gradients(
    subject: JudgedSubject, along: Line, equilibria: dict[int, list[Array]]
) -> dict[int, Array]:
    """Ask for gradients at equilibria as the dtype has them, and put right what that moved them."""
    found = {}
    for k, there in along.items():
        z, network = equilibria[k], there.layered
        fitting = [there.x, *rounded(z[1:-1], subject.dtype), there.y]
        moved = _theirs(network, fitting, there.precision) - _theirs(network, z, there.precision)
        found[k] = joined(subject.at(there).energy_gradients(fitting)) - moved
    return found


def _theirs(network: Layered, activities: list[Array], precision: Array | None) -> Array:
    weights, biases = energy_gradients(network, activities, precision)
    return joined([*weights, *(biases or [])])


def _gradient_off(
    objective: Objective, dtype: DType, along: Line, equilibria: dict[int, list[Array]]
) -> float:
    """Bound the rounding of a gradient on the line: at its ends, where it is largest."""
    u, offs = unit_roundoff(dtype), []
    for k in (min(along), max(along)):
        there = along[k]
        if objective == "loss":
            _, bounds = backpropagated(there, dtype)
        else:
            rounding = layered_rounding(there.layered, equilibria[k], u, there.precision)
            bounds = of_parameters(rounding, there)
        offs.append(float(np.linalg.norm(bounds)))
    return max(offs)


def _ends_at_a_fold(along: Line, equilibria: dict[int, list[Array]]) -> bool:
    """Whether the theory's own gradients along the line change too abruptly for a derivative."""
    own = {k: _theirs(there.layered, equilibria[k], there.precision) for k, there in along.items()}
    derivative, left_out = first(own)
    return left_out > float(np.linalg.norm(derivative)) / 2


def unrolled(subject: JudgedSubject, rng: np.random.Generator) -> Iterator[Check]:
    """Ask for curvatures along directions, and whether products are symmetric."""
    problem, u, (x, y) = subject.problem, subject.judge.u, subject.batch
    size = problem.network.n_parameters
    for steps in (0, STEPS):
        hessian = subject.model.unrolled_hessian(x, y, steps, STEP)
        vectors = _unit_vectors(rng, 2, size)
        operator = HessianOperator(subject.backend, hessian, size)
        products = np.asarray(operator.matmat(vectors.T), np.float64).T
        where, offs = f"{steps} steps", []
        for vector, product in zip(vectors, products, strict=True):
            due, left_out = _curvature(problem, steps, vector)
            offs.append(_rounding(problem, steps, vector, due, u))
            yield CURVATURE.approx(
                "curvature through steps", vector @ product, due, left_out + offs[-1], where
            )
        name, (one, other) = "symmetric Hessian through steps", products
        yield SYMMETRY.approx(name, vectors[0] @ other, vectors[1] @ one, 2 * max(offs), where)


def _curvature(problem: Problem, steps: int, vector: Array) -> tuple[float, float]:
    """``vᵀ H v`` by differences of fourth order, and how far it may be off."""
    direction, energies = split(problem.network, vector), {}
    for k in (-4, -2, -1, 0, 1, 2, 4):
        pairs = zip(problem.parameters, direction, strict=True)
        network = problem.at([w + k * _H * v for w, v in pairs]).layered
        taken = inference_steps(network, problem.x, problem.y, Rule(STEP, steps))
        energies[k] = float(taken.energies[-1].sum())

    once, twice = (second_derivative(energies, _H, every) for every in (1, 2))
    # The energies' own rounding: sums of the weights' sizes, 16/3, of what a sum may be off by.
    numbers = sum(z.size for z in problem.parameters) * len(problem.x)
    off = CONFIDENCE * unit_roundoff("float64") * np.sqrt(2 * numbers)
    return once, abs(once - twice) + float(16 / 3 * off * (1 + max(energies.values())) / _H**2)


def _rounding(problem: Problem, steps: int, vector: Array, due: float, u: float) -> float:
    """Try what relative errors in all that is given change, as for other products (theory.md 4.3).

    One number may change little by chance: the largest of several draws counts, and with it the
    curvature that the whole vector could have.
    """
    rng, probe, changes = np.random.default_rng(0), max(u, _LEAST_PROBE), []
    direction = split(problem.network, vector)
    for _ in range(_DRAWS):
        network, (x, y), moved = with_rounding(
            problem.layered, [problem.x, problem.y], direction, probe, rng
        )
        erring = replace(problem.at([*network.weights, *(network.biases or [])]), x=x, y=y)
        changes.append(abs(_curvature(erring, steps, joined(moved))[0] - due))
    return CONFIDENCE * max(changes) * u / probe
