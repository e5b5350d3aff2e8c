r"""What rounding makes of gradients and Hessians of a network without closed forms.

The bounds are on norms, as those of ``theory.hessian_rounding`` are, and as loose: differences of
values are looser by far. With ``z`` the activities, ``e`` the forces on the errors, and ``m = (1 +
s max ‖W_l‖)/σ``, where ``s`` bounds the slope of the activation and ``σ²`` is the least curvature
in the activities: pushing a change through the layers, or pulling it back, magnifies it by at most
``m``. A change of one layer by a unit vector moves an activity by ``m ‖z‖`` and a force by
``m ‖e‖``, at most; what curved activations add is as many times ``max |e|``. Each part so carries
rounding of ``λ u √(2n)``, where ``n`` counts the batch and all widths, once more magnified by
``m``; and a gradient is ``‖e‖ ‖z‖/N``.

For the loss, whose hidden errors are zero, ``σ²`` is the least curvature with outputs that do not
pull, that of the forward pass alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench.contract import Objective
from pcbench.judges.agreement import stiffness
from pcbench.judges.point_judge import PointJudge
from pcbench.networks import activation
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
