"""Slopes and curvatures at a point of a landscape: from derivatives, and from values around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from pcbench.case import Context
from pcbench.cases.landscape.slice_directions import ExtremeDirections
from pcbench.cases.landscape.slice_rounding import SliceRounding
from pcbench.checks import Check
from pcbench.contract import Hessian, InferenceSettings, Objective
from pcbench.judges.basis import Basis
from pcbench.judges.hessian.stencil import REACH, Difference, Line, line, step_of
from pcbench.judges.point_judge import PointJudge, are_well_formed, judged, verdicts_of
from pcbench.judges.points import Points, joined
from pcbench.judges.problem import Problem
from pcbench.judges.reported import CONTRACT, none_of
from pcbench.spectra import HessianOperator, dense

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
