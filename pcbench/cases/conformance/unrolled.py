"""Whether Hessians through steps of inference are those of the energy that the steps reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench import checks
from pcbench.cases.conformance.subject import Array, Subject
from pcbench.checks import Check, Tolerance
from pcbench.contract import Backend
from pcbench.judges.points import joined, split
from pcbench.judges.problem import Problem
from pcbench.spectra import HessianOperator
from pcbench.theory.nonlinear.layered import (
    Layered,
    activity_residuals,
    feedforward,
    layered_energies,
)
from pcbench.theory.rounding.bounds import CONFIDENCE, unit_roundoff
from pcbench.theory.rounding.hessian import with_rounding

SOURCE = "the energy after so many steps, differentiated twice (theory.md 2.3)"
STEPS, STEP = 3, 0.05
_DRAWS = 8
# The judge's own differences are taken in float64, whatever the backend's dtype.
_H = unit_roundoff("float64") ** (1 / 6)
_WEIGHTS = {0: -30 / 12, 1: 16 / 12, 2: -1 / 12}


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
            yield checks.approx(
                "curvature through steps",
                float(vector @ product),
                due,
                Tolerance(
                    left_out + offs[-1],
                    "what differences of two steps leave out, and rounding (theory.md 4.3)",
                ),
                source=SOURCE,
                where=where,
            )
        yield checks.approx(
            "symmetric Hessian through steps",
            float(vectors[0] @ products[1]),
            float(vectors[1] @ products[0]),
            Tolerance(2 * max(offs), "rounding in this network (theory.md 4.3)"),
            source="a Hessian is symmetric",
            where=where,
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

    def second(m: int) -> float:
        total = _WEIGHTS[0] * energies[0]
        total += sum(_WEIGHTS[k] * (energies[k * m] + energies[-k * m]) for k in (1, 2))
        return float(total / (m * _H) ** 2)

    once, twice = second(1), second(2)
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


# Far above what differences in float64 are off by, and small enough to be a small change.
_LEAST_PROBE = 2.0**-24
