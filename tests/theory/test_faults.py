"""A theory with a mistake in it would be caught.

Each mistake is made in the source of a module of the theory; then the comparison that the right
formula passes to within rounding must find the wrong one far off.
"""

import inspect
import sys
import types
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from pcbench.networks import Origin, PenultimateOnly, ZeroRank
from pcbench.theory.linear import equilibrium, saddles
from tests.helpers.closeness import DIFFERENT, SAME
from tests.helpers.linear_problems import problem_at, random_problem
from tests.theory import theory_comparisons as comparisons
from tests.theory.linear import forces

# All widths equal, so that a transposed or misplaced matrix still fits; and all different.
SQUARE = random_problem((3, 3, 3, 3, 3))
UNEQUAL = random_problem((3, 4, 5, 2))
SHALLOW_ORIGIN = problem_at(Origin(), (3, 3, 3))
UNEQUAL_SHALLOW_ORIGIN = problem_at(Origin(), (3, 4, 2))
DEEP_ORIGIN = problem_at(Origin(), (3, 3, 4, 2))
SADDLE = problem_at(ZeroRank(), (3, 3, 3, 3, 3))
ARROWLESS_SADDLE = problem_at(PenultimateOnly(), (3, 3, 3, 3, 3))


@dataclass(frozen=True, repr=False)
class Fault:
    """Where in the source the mistake is made, and by which comparison on what it must show."""

    module: types.ModuleType
    right: str
    wrong: str
    comparison: object
    problem: object


FAULTS = {
    "S without I": Fault(
        equilibrium,
        "= np.eye(len(weights[-1])) + hidden",
        "= 0 * np.eye(len(weights[-1])) + hidden",
        comparisons.energy,
        SQUARE,
    ),
    "S summed from 1": Fault(
        equilibrium,
        "reach = chains_from_output(weights)[1:-1]",
        "reach = chains_from_output(weights)[:-1]",
        comparisons.energy,
        SQUARE,
    ),
    "S summed from 3": Fault(
        equilibrium,
        "reach = chains_from_output(weights)[1:-1]",
        "reach = chains_from_output(weights)[2:-1]",
        comparisons.energy,
        SQUARE,
    ),
    "S of products transposed": Fault(
        equilibrium,
        "(product @ product.T for",
        "(product.T @ product for",
        comparisons.output_covariance,
        SQUARE,
    ),
    "residual with the wrong sign": Fault(
        equilibrium, "= y - x @", "= y + x @", comparisons.energy, SQUARE
    ),
    "residual by the product transposed": Fault(
        equilibrium,
        "y - x @ chains_from_output(weights)[0].T",
        "y - x @ chains_from_output(weights)[0]",
        comparisons.energy,
        SQUARE,
    ),
    "energy not halved": Fault(
        equilibrium,
        "np.sum(r * multiplier) / (2 * len(x))",
        "np.sum(r * multiplier) / len(x)",
        comparisons.energy,
        UNEQUAL,
    ),
    "energy summed over the batch": Fault(
        equilibrium,
        "np.sum(r * multiplier) / (2 * len(x))",
        "np.sum(r * multiplier) / 2",
        comparisons.energy,
        UNEQUAL,
    ),
    "unobserved outputs clamped to zero residual": Fault(
        equilibrium,
        "root[:, None] * covariance * root",
        "covariance",
        comparisons.masked_energy,
        SQUARE,
    ),
    "masked energy not halved": Fault(
        equilibrium,
        "np.sum(r * multiplier) / (2 * len(x))",
        "np.sum(r * multiplier) / len(x)",
        comparisons.masked_energy,
        UNEQUAL,
    ),
    "gradient without the term of S": Fault(
        equilibrium,
        "(driven_by_input + second_moment @ driven_by_errors)",
        "driven_by_input",
        comparisons.energy_gradient,
        SQUARE,
    ),
    "gradient with the term of S subtracted": Fault(
        equilibrium,
        "driven_by_input + second_moment",
        "driven_by_input - second_moment",
        comparisons.energy_gradient,
        SQUARE,
    ),
    "gradient with the term of S one layer late": Fault(
        equilibrium,
        "driven_by_errors = driven_by_errors @ weight.T + from_output[l]",
        "driven_by_errors = driven_by_errors @ weight.T + from_output[l] * (l > 1)",
        comparisons.energy_gradient,
        SQUARE,
    ),
    "gradient of r instead of S⁻¹r": Fault(
        equilibrium,
        "_, u = multipliers(weights, x, y, precision)",
        "u = residuals(weights, x, y)",
        comparisons.energy_gradient,
        SQUARE,
    ),
    "gradient with the wrong sign": Fault(
        equilibrium,
        "-from_output[l].T @ (driven_by_input",
        "from_output[l].T @ (driven_by_input",
        comparisons.energy_gradient,
        SQUARE,
    ),
    "loss not halved": Fault(
        equilibrium,
        "np.sum(r**2) / (2 * len(x))",
        "np.sum(r**2) / len(x)",
        comparisons.loss,
        UNEQUAL,
    ),
    "gradient of the loss one layer off": Fault(
        equilibrium,
        "-from_output[l].T @ moved",
        "-from_output[l - 1].T @ moved",
        comparisons.loss_gradient,
        SQUARE,
    ),
    "norm of S from its least eigenvalue": Fault(
        equilibrium,
        "np.linalg.eigvalsh(output_covariance(weights))[-1]",
        "np.linalg.eigvalsh(output_covariance(weights))[0]",
        comparisons.output_covariance_norm,
        SQUARE,
    ),
    "errors one layer off": Fault(
        equilibrium,
        "for product in chains_from_output(weights)[1:]]",
        "for product in chains_from_output(weights)[:-1]]",
        comparisons.equilibrium_errors,
        SQUARE,
    ),
    "activities that subtract the errors": Fault(
        equilibrium,
        "activities[-1] @ weight.T + error",
        "activities[-1] @ weight.T - error",
        comparisons.equilibrium_activities,
        UNEQUAL,
    ),
    "residual at the start by the weights transposed": Fault(
        forces,
        "residuals(weights, x, y) @ weights[-1]",
        "residuals(weights, x, y) @ weights[-1].T",
        comparisons.feedforward_residual,
        SQUARE,
    ),
    "residual that adds the errors from above": Fault(
        equilibrium,
        "error - after @ weight",
        "error + after @ weight",
        comparisons.residual_norm,
        UNEQUAL,
    ),
    "activity Hessian without I": Fault(
        equilibrium,
        "hessian = np.eye(starts[-1])",
        "hessian = np.zeros((starts[-1],) * 2)",
        comparisons.activity_hessian,
        UNEQUAL,
    ),
    "activity Hessian with WWᵀ on the diagonal": Fault(
        equilibrium,
        "+= weight.T @ weight",
        "+= weight @ weight.T",
        comparisons.activity_hessian,
        SQUARE,
    ),
    "activity Hessian with the sign of its couplings wrong": Fault(
        equilibrium,
        "hessian[here, above] = -weight.T\n            hessian[above, here] = -weight\n",
        "hessian[here, above] = weight.T\n            hessian[above, here] = weight\n",
        comparisons.activity_hessian,
        UNEQUAL,
    ),
    "least curvature from the other end": Fault(
        equilibrium,
        "np.linalg.eigvalsh(activity_hessian(weights))[0]",
        "np.linalg.eigvalsh(activity_hessian(weights))[-1]",
        comparisons.least_activity_curvature,
        UNEQUAL,
    ),
    "contraction of an ascent": Fault(
        equilibrium,
        "1 - step * eigenvalues",
        "1 + step * eigenvalues",
        comparisons.contraction_rate,
        UNEQUAL,
    ),
    "origin without the block of the energy": Fault(
        saddles,
        'if objective == "energy":\n        last =',
        'if objective == "none":\n        last =',
        comparisons.origin_hessian,
        DEEP_ORIGIN,
    ),
    "origin with the last block halved": Fault(
        saddles,
        "last = np.kron(-slopes.corner * (y.T @ y) / len(y)",
        "last = np.kron(-slopes.corner * (y.T @ y) / (2 * len(y))",
        comparisons.origin_hessian,
        DEEP_ORIGIN,
    ),
    "origin with the last block column by column": Fault(
        saddles,
        "np.kron(-slopes.corner * (y.T @ y) / len(y), np.eye(widths[-2]))",
        "np.kron(np.eye(widths[-2]), -slopes.corner * (y.T @ y) / len(y))",
        comparisons.origin_hessian,
        DEEP_ORIGIN,
    ),
    "origin with the block in the first layer": Fault(
        saddles,
        "block_diag([empty, last]",
        "block_diag([last, empty]",
        comparisons.origin_hessian,
        DEEP_ORIGIN,
    ),
    "origin with δ of the wrong indices": Fault(
        saddles, '"ik,ja->ijak"', '"ij,ka->ijak"', comparisons.origin_hessian, SHALLOW_ORIGIN
    ),
    "origin with W₂ column by column": Fault(
        saddles, '"ik,ja->ijak"', '"ik,ja->ijka"', comparisons.origin_hessian, SHALLOW_ORIGIN
    ),
    "origin with the sign of the cross block wrong": Fault(
        saddles,
        "np.eye(widths[1]), -slopes.cross * (x.T @ y)",
        "np.eye(widths[1]), slopes.cross * (x.T @ y)",
        comparisons.origin_hessian,
        SHALLOW_ORIGIN,
    ),
    "origin with Σ_xy transposed": Fault(
        saddles,
        "np.eye(widths[1]), -slopes.cross * (x.T @ y)",
        "np.eye(widths[1]), -slopes.cross * (y.T @ x)",
        comparisons.origin_hessian,
        SHALLOW_ORIGIN,
    ),
    "origin's eigenvalues as often as there are outputs": Fault(
        saddles,
        "np.repeat(small, widths[-2]",
        "np.repeat(small, widths[-1]",
        comparisons.origin_spectrum,
        UNEQUAL_SHALLOW_ORIGIN,
    ),
    "deep origin's eigenvalues as often as there are outputs": Fault(
        saddles,
        "np.repeat(small, widths[-2]",
        "np.repeat(small, widths[-1]",
        comparisons.origin_spectrum,
        DEEP_ORIGIN,
    ),
    "origin's spectrum without Σ_yy": Fault(
        saddles,
        "corner = -slopes.corner * (y.T @ y) / len(y)",
        "corner = 0 * corner",
        comparisons.origin_spectrum,
        UNEQUAL_SHALLOW_ORIGIN,
    ),
    "origin's spectrum without the cross block": Fault(
        saddles,
        "if n_layers == 2:",
        "if n_layers == 1:",
        comparisons.origin_spectrum,
        UNEQUAL_SHALLOW_ORIGIN,
    ),
    "M without I": Fault(
        saddles,
        "covariance = np.eye(weights[-1].shape[1])",
        "covariance = np.zeros((weights[-1].shape[1],) * 2)",
        comparisons.zero_rank_hessian,
        SADDLE,
    ),
    "M one term short": Fault(
        saddles, "range(2, last + 1)", "range(2, last)", comparisons.zero_rank_hessian, SADDLE
    ),
    "M of products transposed": Fault(
        saddles,
        "covariance += product @ product.T",
        "covariance += product.T @ product",
        comparisons.zero_rank_hessian,
        SADDLE,
    ),
    "M ⊗ Σ_yy": Fault(
        saddles,
        "np.kron(-(y.T @ y) / len(y), covariance)",
        "np.kron(covariance, -(y.T @ y) / len(y))",
        comparisons.zero_rank_hessian,
        SADDLE,
    ),
    "saddle with the last block halved": Fault(
        saddles,
        "np.kron(-(y.T @ y) / len(y)",
        "np.kron(-(y.T @ y) / (2 * len(y))",
        comparisons.zero_rank_hessian,
        SADDLE,
    ),
    "loss and energy mistaken for each other": Fault(
        saddles,
        'if objective == "loss":',
        'if objective == "energy":',
        comparisons.zero_rank_hessian,
        SADDLE,
    ),
    "cross block transposed": Fault(
        saddles, '"ip,qa->pqai"', '"ip,qa->pqia"', comparisons.zero_rank_hessian, SADDLE
    ),
    "cross block of the layers above transposed": Fault(
        saddles, '"ip,qa->pqai"', '"pi,qa->pqai"', comparisons.zero_rank_hessian, SADDLE
    ),
    "cross block with W_k column by column": Fault(
        saddles, '"ip,qa->pqai"', '"ip,qa->qpai"', comparisons.zero_rank_hessian, SADDLE
    ),
    "cross block with the wrong sign": Fault(
        saddles,
        '"ip,qa->pqai", -onward',
        '"ip,qa->pqai", onward',
        comparisons.zero_rank_hessian,
        SADDLE,
    ),
    "cross block with one layer too many": Fault(
        saddles,
        "chain(weights, last, k + 1)",
        "chain(weights, last, k)",
        comparisons.zero_rank_hessian,
        SADDLE,
    ),
    "first cross block dropped": Fault(
        saddles,
        '"ip,qa->pqai", -onward',
        '"ip,qa->pqai", -onward * (k > 1)',
        comparisons.zero_rank_hessian,
        SADDLE,
    ),
    "saddle's spectrum without the cross blocks": Fault(
        saddles,
        "np.block([[np.zeros((len(r),) * 2), r], [r.T, corner]])",
        "np.block([[np.zeros((len(r),) * 2), 0 * r], [0 * r.T, corner]])",
        comparisons.zero_rank_spectrum,
        SADDLE,
    ),
    "saddle's spectrum without the corner": Fault(
        saddles,
        "r], [r.T, corner]])",
        "r], [r.T, 0 * corner]])",
        comparisons.zero_rank_spectrum,
        SADDLE,
    ),
    "bound from the least eigenvalue of M": Fault(
        saddles,
        "np.linalg.eigvalsh(_last_hidden_covariance(weights))[-1]",
        "np.linalg.eigvalsh(_last_hidden_covariance(weights))[0]",
        comparisons.zero_rank_curvature_bound,
        ARROWLESS_SADDLE,
    ),
    "bound from the least eigenvalue of Σ_yy": Fault(
        saddles,
        "np.linalg.eigvalsh(y.T @ y / len(y))[-1]",
        "np.linalg.eigvalsh(y.T @ y / len(y))[0]",
        comparisons.zero_rank_curvature_bound,
        ARROWLESS_SADDLE,
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_wrong_formula_is_far_off_where_the_right_one_agrees(fault):
    assert fault.comparison(comparisons.CLOSED_FORMS, fault.problem) < SAME
    assert fault.comparison(variant(fault), fault.problem) > DIFFERENT


def variant(fault):
    """Make the mistake in a copy of the module."""
    source = inspect.getsource(fault.module)
    assert source.count(fault.right) == 1, f"{fault.right!r} is not one place of the source"
    copy = types.ModuleType(f"wrong {fault.module.__name__}")
    # Dataclasses look the module up that they are defined in.
    with patch.dict(sys.modules, {copy.__name__: copy}):
        exec(compile(source.replace(fault.right, fault.wrong), copy.__name__, "exec"), vars(copy))
    return copy
