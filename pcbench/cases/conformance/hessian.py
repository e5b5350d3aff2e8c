"""Whether Hessians are those of the theory, symmetric, and derivatives of gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pcbench.case import CaseSkippedError
from pcbench.cases.conformance.differences import BY_DIFFERENCES, CARRIED, Line, first
from pcbench.checks import Check
from pcbench.contract import Backend, Hessian, Objective
from pcbench.judges.answers import Array, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.hessian import ProductJudge
from pcbench.judges.inference import of_parameters
from pcbench.judges.points import joined
from pcbench.judges.problem import rounded
from pcbench.judges.reported import differing
from pcbench.judges.training.step_expected import backpropagated
from pcbench.spectra import HessianOperator
from pcbench.theory.nonlinear.layered import Layered, energy_gradients
from pcbench.theory.nonlinear.relaxation import NoEquilibriumError, relaxed_activities
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.layered import layered_rounding

DIFFERENCES = "a Hessian is the derivative of the backend's own gradient"
_DIRECTIONS = 3


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
        yield _against_differences(objective, operator, judge, along, gradients[objective], off)


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
