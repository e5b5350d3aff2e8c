"""Slopes and curvatures at a point of a landscape: from derivatives, and from values around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from pcbench.case import Context
from pcbench.checks import Check
from pcbench.contract import DType, Hessian, InferenceSettings, Objective
from pcbench.judges.agreement import stiffness
from pcbench.judges.basis import Basis
from pcbench.judges.differences import REACH, Difference, Line, line, step_of
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
from pcbench.judges.reported import CONTRACT, none_of
from pcbench.networks import activation
from pcbench.spectra import HessianOperator, dense
from pcbench.theory.nonlinear.curvature import least_curvatures
from pcbench.theory.nonlinear.layered import Layered, feedforward, layered_errors
from pcbench.theory.rounding.bounds import CONFIDENCE, hessian_rounding


@dataclass(frozen=True, slots=True)
class SliceRounding:
    """Absolute bounds along a unit vector: on a gradient, and on a Hessian, operator norm."""

    gradient: float
    hessian: float

    @classmethod
    def of(cls, judge: PointJudge, objective: Objective) -> SliceRounding:
        """Bound the rounding of one objective's derivatives at a judged point."""
        problem, expected = judge.answer.problem, judge.expected
        if problem.network.is_linear:
            whole = hessian_rounding(problem.weights, problem.x, problem.y, judge.u)
            return cls(expected.gradients_off[objective], whole.eigenvalue)
        network = judge.network
        if objective == "energy":
            activities = [problem.x, *judge.answer.result.activities[1:-1], problem.y]
            least = judge.least_curvature
        else:
            activities = feedforward(network, problem.x)
            free = least_curvatures(network, activities, np.zeros_like(problem.y))
            least, activities = 2 / stiffness(free), [*activities[:-1], problem.y]
        errors = layered_errors(network, activities)
        slope = activation(problem.network.activation).max_slope
        gradient, hessian = _norm_bounds(network, activities, errors, least, judge.u, slope)
        return cls(expected.gradients_off.get(objective, gradient), hessian)


def _norm_bounds(
    network: Layered,
    activities: list[Float[np.ndarray, "N _d"]],
    errors: list[Float[np.ndarray, "N _d"]],
    least_curvature: float,
    u: float,
    slope: float,
) -> tuple[float, float]:
    n, depth = len(activities[0]), network.depth
    lengths = n + sum(z.shape[1] for z in activities)
    largest = max(float(np.linalg.norm(weight, 2)) for weight in network.weights)
    m = (1 + slope * largest) / float(np.sqrt(least_curvature))
    # Biases see ones, where weights see activities.
    ones = float(np.sqrt(n)) if network.biases is not None else 0.0
    z = max(float(np.linalg.norm(activity)) for activity in activities[:-1]) + ones
    e = max(float(np.linalg.norm(error)) for error in errors)
    sharpest = max(float(np.abs(error).max()) for error in errors)
    relative = CONFIDENCE * u * float(np.sqrt(2 * lengths)) * m
    return relative * m * e * z / n, depth * relative * (1 + sharpest) * (m * (z + e)) ** 2 / n


# The Hessian is asked for row by row, and its eigenvectors cost the cube of this: some seconds.
MOST_EXTREME = 2_000

SPECTRAL = Basis(
    "an eigenvector is multiplied by its eigenvalue",
    "rounding of the Hessian, twice, and of multiple eigenvalues",
)

Product = Callable[[Points], Float[np.ndarray, "..."]]


def random_directions(parameters: int, rng: np.random.Generator, dtype: DType) -> Points:
    """Two orthonormal directions, uniform on the sphere, up to rounding to the dtype."""
    [first, second] = rng.standard_normal((2, parameters))
    return _staged([first, _across(second, [first])], dtype)


@dataclass(frozen=True, slots=True)
class ExtremeDirections:
    """Eigenvectors, a row each, of the least and the largest eigenvalue of an objective's Hessian.

    Their numbers fit the dtype; ``norm`` is ``‖∇²‖₂``, the larger of the two magnitudes.
    """

    objective: Objective
    vectors: Points
    eigenvalues: tuple[float, float]
    norm: float

    @classmethod
    def of(
        cls,
        objective: Objective,
        hessian: Float[np.ndarray, "P P"],
        rounding: float,
        rng: np.random.Generator,
        dtype: DType,
    ) -> ExtremeDirections:
        """Choose a random vector among all that belong to an extreme eigenvalue.

        At saddles eigenvalues are multiple. Which basis a library returns then is an accident, of
        the machine as well; eigenvalues that rounding cannot tell from the extreme one are taken
        as one, and the same random vector, projected, stands for them on every machine.
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
        vectors = _staged(chosen, dtype)
        return cls(objective, vectors, (least, largest), max(abs(least), abs(largest)))

    def checks(self, product: Product, rounding: float, u: float) -> Iterator[Check]:
        """Check ``‖∇² v - θ v‖`` for both, where the product is of ``v`` alone.

        ``rounding`` bounds what rounding makes of the Hessian, in the operator norm; ``u`` is the
        dtype's unit roundoff.
        """
        # Rows, and the product; eigenvalues that were taken as one; LAPACK; and v in the dtype.
        off = 6 * rounding + (self.vectors.shape[1] * 2.0**-52 + 4 * u) * self.norm
        for which, value, vector in zip(
            ("least", "largest"), self.eigenvalues, self.vectors, strict=True
        ):
            name = f"eigenvector of the {which} curvature of the {self.objective}"
            yield SPECTRAL.distance(name, product(vector[None]), value * vector[None], off)


def _across(vector: Point, others: list[Point]) -> Point:
    """Return what is orthogonal to the others."""
    for other in others:
        vector = vector - other * (other @ vector) / (other @ other)
    return vector


def _staged(vectors: list[Point], dtype: DType) -> Points:
    """Make vectors unit vectors whose numbers the dtype has."""
    return np.stack(rounded([vector / np.linalg.norm(vector) for vector in vectors], dtype))


TAYLOR = Basis(
    "Taylor's theorem: values along a line have the slope and curvature of the derivatives",
    "how far differences of two steps are apart; rounding and forces that are left, magnified by "
    "the step; and rounding of the derivative",
)


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
        self._rounding = {each: SliceRounding.of(centre, each) for each in get_args(Objective)}

    def product(self, objective: Objective, vectors: Points) -> Float[np.ndarray, "..."]:
        """Products with a Hessian, a vector a row."""
        backend = self._context.backend
        return backend.to_host(self._hessians[objective].product(backend.to_device(vectors)))

    def form(self, objective: Objective, vectors: Points) -> Check:
        """Check that products have the shape that is due, and are numbers."""
        product = self.product(objective, vectors)
        malformed = int(product.shape != vectors.shape or not np.isfinite(product).all())
        name = f"Hessian of the {objective}: malformed answers"
        return none_of(name, malformed, 1, "products", source=CONTRACT)

    def extreme_directions(self, objective: Objective) -> ExtremeDirections:
        """Find the directions of the extreme curvatures, from the whole Hessian."""
        progress, backend = self._context.progress, self._context.backend
        size, stage = self._problem.network.n_parameters, f"Hessian of the {objective}"
        operator = HessianOperator(backend, self._hessians[objective], size)
        whole = dense(operator, lambda starts, total: progress(stage, starts, total))
        return ExtremeDirections.of(
            objective,
            whole,
            self._rounding[objective].hessian,
            self._context.rng("directions"),
            self._context.backend.dtype,
        )

    def eigenvectors(self, extreme: ExtremeDirections) -> Iterator[Check]:
        """Check that directions of extreme curvature are eigenvectors."""
        objective = extreme.objective
        yield from extreme.checks(
            lambda vectors: self.product(objective, vectors),
            self._rounding[objective].hessian,
            self._centre.u,
        )

    def findings(self, directions: Points) -> Iterator[Check]:
        """Compare slopes and curvatures along two directions with values along four lines.

        The mixed curvature ``uᵀ ∇² v`` is half the difference of the curvatures along ``u + v`` and
        ``u - v``, both divided by ``√2``: the usual mixed difference, on the diagonals.
        """
        u, v = directions
        ways = np.stack([u, v, (u + v) / np.sqrt(2), (u - v) / np.sqrt(2)])
        h, origin = step_of(self._centre.u), joined(self._problem.parameters)
        points = np.concatenate([line(origin, way, h) for way in ways])
        judges = judged(self._context, self._problem, points, self._settings)
        yield from (check.at("next to the point") for check in verdicts_of(judges))
        if not are_well_formed(judges):
            return
        lines = [
            Line(h, way, self._centre, dict(zip(REACH, judges[len(REACH) * i :], strict=False)))
            for i, way in enumerate(ways)
        ]
        for objective in get_args(Objective):
            yield from self._along(objective, directions, lines)

    def _along(
        self, objective: Objective, directions: Points, lines: list[Line]
    ) -> Iterator[Check]:
        gradient = self._centre.answer.gradient(objective)
        of_u, of_v = self.product(objective, directions)
        products = [of_u, of_v, (of_u + of_v) / np.sqrt(2), (of_u - of_v) / np.sqrt(2)]
        rounding = self._rounding[objective]
        curvatures = []
        for name, way, product in zip("uv+-", lines, products, strict=True):
            # What inference left undone moves the energy's derivatives; the loss has none to do.
            slope_left, curvature_left = 0.0, 0.0
            if objective == "energy":
                force = self._centre.force / len(self._problem.x)
                slope_left, curvature_left = (force * drift for drift in way.drift)
            slope = way.slope(objective, gradient, product)
            curvature = way.curvature(objective, gradient, product)
            curvature = Difference(
                curvature.value, curvature.off + curvature_left + rounding.hessian
            )
            curvatures.append(curvature)
            if name not in "uv":
                continue
            yield TAYLOR.approx(
                f"slope of the {objective} along {name}",
                gradient @ way.direction,
                slope.value,
                slope.off + slope_left + rounding.gradient,
            )
            yield TAYLOR.approx(
                f"curvature of the {objective} along {name}",
                product @ way.direction,
                curvature.value,
                curvature.off,
            )
        _, _, along, across = curvatures
        yield TAYLOR.approx(
            f"mixed curvature of the {objective}",
            directions[0] @ of_v,
            (along.value - across.value) / 2,
            (along.off + across.off) / 2,
        )
