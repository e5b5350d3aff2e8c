"""Slopes and curvatures at a point of a landscape: from derivatives, and from values around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from pcbench.case import Context
from pcbench.checks import Check
from pcbench.contract import DType, Hessian, InferenceSettings, Objective
from pcbench.judges.agreement import stiffness
from pcbench.judges.basis import Basis
from pcbench.judges.differences import first_derivative, second_derivative
from pcbench.judges.points import (
    Point,
    PointJudge,
    Points,
    are_well_formed,
    joined,
    judged,
    verdicts_of,
)
from pcbench.judges.problem import Problem, rounded
from pcbench.judges.reported import well_formed
from pcbench.networks import activation
from pcbench.spectra import HessianOperator, dense
from pcbench.theory.nonlinear.curvature import least_curvatures
from pcbench.theory.nonlinear.layered import feedforward, layered_errors
from pcbench.theory.rounding.bounds import CONFIDENCE, hessian_rounding

REACH = (-4, -2, -1, 1, 2, 4)
"""Multiples of the step at which a line is evaluated, beside its centre."""

# The Hessian is asked for row by row, and its eigenvectors cost the cube of this: some seconds.
MOST_EXTREME = 2_000

SPECTRAL = Basis(
    "an eigenvector is multiplied by its eigenvalue",
    "rounding of the Hessian, twice, and of multiple eigenvalues",
)

TAYLOR = Basis(
    "Taylor's theorem: values along a line have the slope and curvature of the derivatives",
    "how far differences of two steps are apart; rounding and forces that are left, magnified by "
    "the step; and rounding of the derivative",
)


def _derivatives(
    h: float,
    direction: Point,
    judges: dict[int, PointJudge],
    objective: Objective,
    gradient: Point,
    product: Point,
) -> Iterator[tuple[float, float]]:
    """``d/dt`` and ``d²/dt²`` of values at multiples of ``h`` along a line, the centre among them.

    Each with a bound on how far it may be from the truth. ``gradient`` and ``product``, the Hessian
    times the direction, are those at the centre: they carry points that rounding put off the line
    back to it.
    """
    centre, values, off = judges[0], {}, {}
    for k, judge in judges.items():
        t = k * h
        there, here = (joined(each.answer.problem.parameters) for each in (judge, centre))
        aside = there - here - t * direction
        carried = float(gradient @ aside) + t * float(product @ aside)
        values[k] = judge.answer.value(objective) - carried
        off[k] = judge.uncertainty(objective, centre.least_curvature)
    for derivative in (first_derivative, second_derivative):
        once, twice = derivative(values, h, 1), derivative(values, h, 2)
        weights = {k: abs(derivative({j: float(j == k) for j in values}, h, 1)) for k in values}
        yield once, abs(once - twice) + sum(weight * off[k] for k, weight in weights.items())


def _drift(h: float, judges: dict[int, PointJudge]) -> tuple[float, float]:
    """``‖dz/dt‖`` and ``‖d²z/dt²‖`` of all hidden activities at equilibrium, along a line.

    A force ``ρ`` that inference left at the centre puts its gradient and its Hessian off by ``⟨ρ,
    dz/dt⟩/N`` and ``⟨ρ, d²z/dt²⟩/N`` along the line, to first order: differentiate ``𝓕_z(θ, z*) =
    0`` once and twice, and expand ``𝓕_θ v`` and ``vᵀ ∇²𝓕* v`` in ``δz``.
    """
    activities = {k: judge.answer.result.hidden for k, judge in judges.items()}
    first = float(np.linalg.norm(first_derivative(activities, h, 1)))
    return first, float(np.linalg.norm(second_derivative(activities, h, 1)))


def slice_rounding(judge: PointJudge, objective: Objective) -> tuple[float, float]:
    r"""Bound the rounding of a gradient and of a Hessian at a judged point, along a unit vector.

    Of networks without closed forms the bounds are on norms, and loose; differences of values are
    looser by far. With ``z`` the activities, ``e`` the forces on the errors, and ``m = (1 + s max
    ‖W_l‖)/σ``, where ``s`` bounds the slope of the activation and ``σ²`` is the least curvature in
    the activities: pushing a change through the layers, or pulling it back, magnifies it by at most
    ``m``. A change of one layer by a unit vector moves an activity by ``m ‖z‖`` and a force by
    ``m ‖e‖``, at most; what curved activations add is as many times ``max |e|``. Each part so
    carries rounding of ``λ u √(2n)``, where ``n`` counts the batch and all widths, once more
    magnified by ``m``; and a gradient is ``‖e‖ ‖z‖/N``.

    For the loss, whose hidden errors are zero, ``σ²`` is the least curvature with outputs that do
    not pull, that of the forward pass alone.
    """
    problem, expected, network = judge.answer.problem, judge.expected, judge.network
    if problem.network.is_linear:
        whole = hessian_rounding(problem.weights, problem.x, problem.y, judge.u)
        return expected.gradients_off[objective], whole.eigenvalue
    if objective == "energy":
        activities = [problem.x, *judge.answer.result.activities[1:-1], problem.y]
        least = judge.least_curvature
    else:
        activities = feedforward(network, problem.x)
        free = least_curvatures(network, activities, np.zeros_like(problem.y))
        least, activities = 2 / stiffness(free), [*activities[:-1], problem.y]
    errors = layered_errors(network, activities)
    slope = activation(problem.network.activation).max_slope
    n, depth = len(problem.x), network.depth
    lengths = n + sum(z.shape[1] for z in activities)
    largest = max(float(np.linalg.norm(weight, 2)) for weight in network.weights)
    m = (1 + slope * largest) / float(np.sqrt(least))
    # Biases see ones, where weights see activities.
    ones = float(np.sqrt(n)) if network.biases is not None else 0.0
    z = max(float(np.linalg.norm(activity)) for activity in activities[:-1]) + ones
    e = max(float(np.linalg.norm(error)) for error in errors)
    sharpest = max(float(np.abs(error).max()) for error in errors)
    relative = CONFIDENCE * judge.u * float(np.sqrt(2 * lengths)) * m
    hessian = depth * relative * (1 + sharpest) * (m * (z + e)) ** 2 / n
    return expected.gradients_off.get(objective, relative * m * e * z / n), hessian


def random_directions(parameters: int, rng: np.random.Generator, dtype: DType) -> Points:
    """Two orthonormal directions, uniform on the sphere, up to rounding to the dtype."""
    [first, second] = rng.standard_normal((2, parameters))
    return _staged([first, _across(second, [first])], dtype)


def extreme_directions(
    hessian: Float[np.ndarray, "P P"], rounding: float, rng: np.random.Generator, dtype: DType
) -> tuple[Points, tuple[float, float]]:
    """Eigenvectors, a row each, of the least and the largest eigenvalue, and these; in the dtype.

    At saddles eigenvalues are multiple. Which basis a library returns then is an accident, of the
    machine as well; eigenvalues that rounding cannot tell from the extreme one are taken as one,
    and a random vector, projected, stands for them: the same on every machine.
    """
    eigenvalues, basis = np.linalg.eigh((hessian + hessian.T) / 2)
    least, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    chosen: list[Point] = []
    for extreme in (least, largest):
        together = np.abs(eigenvalues - extreme) <= 2 * rounding
        if largest - least <= 4 * rounding:
            together[:] = True
        space = basis[:, together]
        draw = rng.standard_normal(len(hessian))
        chosen.append(_across(space @ (space.T @ draw), chosen))
    return _staged(chosen, dtype), (least, largest)


def _across(vector: Point, others: list[Point]) -> Point:
    """Return what is orthogonal to the others."""
    for other in others:
        vector = vector - other * (other @ vector) / (other @ other)
    return vector


def _staged(vectors: list[Point], dtype: DType) -> Points:
    """Make vectors unit vectors whose numbers the dtype has."""
    return np.stack(rounded([vector / np.linalg.norm(vector) for vector in vectors], dtype))


class Tangent:
    """Derivatives of both objectives at one point.

    ``centre`` is the judge of its values and gradients, all of them well-formed; ``settings`` say
    how energies around it are found.
    """

    def __init__(
        self, context: Context, problem: Problem, centre: PointJudge, settings: InferenceSettings
    ) -> None:
        self._context, self._problem = context, problem
        self._centre, self._settings = centre, settings
        backend = context.backend
        model = backend.build(problem.network, problem.parameters)
        x, y = backend.to_device(problem.x), backend.to_device(problem.y)
        hidden = [backend.to_device(z) for z in centre.answer.result.activities[1:-1]]
        self._hessians: dict[Objective, Hessian[Any]] = {
            "loss": model.loss_hessian(x, y),
            "energy": model.energy_hessian([x, *hidden, y]),
        }
        self._rounding = {each: slice_rounding(centre, each) for each in get_args(Objective)}

    def product(self, objective: Objective, vectors: Points) -> Float[np.ndarray, "..."]:
        """Products with a Hessian, a vector a row."""
        backend = self._context.backend
        return backend.to_host(self._hessians[objective].product(backend.to_device(vectors)))

    def form(self, objective: Objective) -> Check:
        """Check that products have the shape that is due, and are numbers."""
        vectors = np.ones((1, self._problem.network.n_parameters))
        product = self.product(objective, vectors)
        name = f"Hessian of the {objective}: malformed answers"
        return well_formed(name, [(product, vectors.shape)], things="products")

    def extreme(self, objective: Objective) -> tuple[Points, list[Check]]:
        """Find the directions of the extreme curvatures, and check ``‖∇² v - θ v‖`` of both.

        They come from the whole Hessian, and the product is of ``v`` alone.
        """
        progress, backend = self._context.progress, self._context.backend
        size, stage = self._problem.network.n_parameters, f"Hessian of the {objective}"
        operator = HessianOperator(backend, self._hessians[objective], size)
        whole = dense(operator, lambda starts, total: progress(stage, starts, total))
        rounding, rng = self._rounding[objective][1], self._context.rng("directions")
        vectors, eigenvalues = extreme_directions(whole, rounding, rng, backend.dtype)
        # Rows, and the product; eigenvalues that were taken as one; LAPACK; and v in the dtype.
        off = 6 * rounding + (size * 2.0**-52 + 4 * self._centre.u) * max(map(abs, eigenvalues))
        made = []
        for which, value, vector in zip(("least", "largest"), eigenvalues, vectors, strict=True):
            name, seen = f"eigenvector of the {which} curvature of the {objective}", vector[None]
            made.append(SPECTRAL.distance(name, self.product(objective, seen), value * seen, off))
        return vectors, made

    def findings(self, directions: Points) -> Iterator[Check]:
        """Compare slopes and curvatures along two directions with values along four lines.

        The mixed curvature ``uᵀ ∇² v`` is half the difference of the curvatures along ``u + v`` and
        ``u - v``, both divided by ``√2``: the usual mixed difference, on the diagonals.
        """
        u, v = directions
        ways = np.stack([u, v, (u + v) / np.sqrt(2), (u - v) / np.sqrt(2)])
        # Of a unit vector among weights of order one: it balances for the curvature what
        # differences leave out, in h⁴, against what values are off by.
        h, origin = float(self._centre.u ** (1 / 6)), joined(self._problem.parameters)
        points = np.concatenate([origin + h * np.outer(REACH, way) for way in ways])
        judges = judged(self._context, self._problem, points, self._settings)
        yield from (check.at("next to the point") for check in verdicts_of(judges))
        if not are_well_formed(judges):
            return
        lines = [
            {0: self._centre, **dict(zip(REACH, judges[start:], strict=False))}
            for start in range(0, len(judges), len(REACH))
        ]
        for objective in get_args(Objective):
            gradient = self._centre.answer.gradient(objective)
            of_u, of_v = self.product(objective, directions)
            products = [of_u, of_v, (of_u + of_v) / np.sqrt(2), (of_u - of_v) / np.sqrt(2)]
            of_gradient, of_hessian = self._rounding[objective]
            curvatures = []
            for name, way, line, product in zip("uv+-", ways, lines, products, strict=True):
                # What inference left undone moves derivatives of the energy alone.
                slope_left, curvature_left = 0.0, 0.0
                if objective == "energy":
                    force = self._centre.force / len(self._problem.x)
                    slope_left, curvature_left = (force * drift for drift in _drift(h, line))
                (slope, slope_off), (curvature, off) = _derivatives(
                    h, way, line, objective, gradient, product
                )
                off = off + curvature_left + of_hessian
                curvatures.append((curvature, off))
                if name in "uv":
                    slope_off = slope_off + slope_left + of_gradient
                    what = f"of the {objective} along {name}"
                    yield TAYLOR.approx(f"slope {what}", gradient @ way, slope, slope_off)
                    yield TAYLOR.approx(f"curvature {what}", product @ way, curvature, off)
            _, _, (one, one_off), (other, other_off) = curvatures
            name, off = f"mixed curvature of the {objective}", (one_off + other_off) / 2
            yield TAYLOR.approx(name, u @ of_v, (one - other) / 2, off)
