"""The judge: what must be true of deep linear predictive coding networks, in closed form.

Plain NumPy in float64. Nothing here imports anything else of pcbench, and no backend imports
anything here; to doubt a verdict is to read one of these files with the paper beside it. Sections
(``§2.4``) are those of ``docs/theory.md``; "the paper" is Innocenti, Achour, Singh & Buckley,
NeurIPS 2024, arXiv:2408.11979.

Weights are a sequence ``W_1 … W_L`` of arrays ``(d_l, d_{l-1})``; a batch is ``X`` ``(N, d_0)`` and
``Y`` ``(N, d_L)``, one sample a row. Parameters are ordered layer by layer, each row-major.
"""

from pcbench.theory.activities import (
    activities_from_errors,
    activity_hessian,
    contraction_rate,
    equilibrium_activities,
    equilibrium_errors,
    feedforward_residual,
    least_activity_curvature,
    prediction_errors,
    residual_norm,
)
from pcbench.theory.backpropagation_rounding import backpropagation_rounding
from pcbench.theory.chain import chain_escape_times
from pcbench.theory.curvature import (
    activity_hessian_product,
    largest_curvatures,
    least_curvatures,
)
from pcbench.theory.descent import Descent
from pcbench.theory.equilibrium import (
    equilibrated_energy,
    equilibrated_energy_gradient,
    loss,
    loss_gradient,
    output_covariance,
    output_covariance_norm,
    residuals,
)
from pcbench.theory.escape import (
    escape_exponent,
    escape_rates,
    leading_share,
    logarithmic_exponent,
    stage_coefficient,
    steps_per_e_fold,
)
from pcbench.theory.feedforward_rounding import FeedforwardRounding, feedforward_rounding
from pcbench.theory.first_steps import FirstSteps, first_steps
from pcbench.theory.growth import (
    Growth,
    growth,
    least_slope,
    top_direction,
    vanishing_slopes,
)
from pcbench.theory.hessian_rounding import (
    InnerSystem,
    inner_system,
    product_floor,
    with_rounding,
)
from pcbench.theory.inference_steps import (
    InferenceSteps,
    Rule,
    StepsRounding,
    clearance,
    decided,
    flowed,
    inference_steps,
    kink_margin,
    room_to_kinks,
    steps_rounding,
)
from pcbench.theory.layered import (
    Layered,
    activity_residuals,
    energy_gradients,
    feedforward,
    layered_energies,
    layered_errors,
    layered_loss,
    layered_loss_gradients,
    potentials,
    pull_back,
    weigh,
    weighted_errors,
)
from pcbench.theory.layered_rounding import LayeredRounding, layered_rounding
from pcbench.theory.learning import Fallen, Moments, steps_to_fall
from pcbench.theory.low_rank import least_losses
from pcbench.theory.masked import masked_energy, masked_energy_gradient, masked_equilibrium
from pcbench.theory.optimisers import AdamSteps, GradientDescent, Optimiser
from pcbench.theory.origin import Slopes, origin_hessian, origin_spectrum
from pcbench.theory.perturbation import (
    EquilibriumRounding,
    equilibrium_rounding,
    loss_gradient_rounding,
)
from pcbench.theory.products import chain, chains_from_output, chains_to_input
from pcbench.theory.range import UndecidableError, demand_definite, demand_range
from pcbench.theory.relaxation import NoEquilibriumError, relaxed_activities
from pcbench.theory.rounding import (
    CONFIDENCE,
    HessianRounding,
    UnfinishedInference,
    direct_solve_residual,
    hessian_rounding,
    unfinished_inference,
    unit_roundoff,
)
from pcbench.theory.saddles import (
    Steps,
    zero_rank_curvature_bound,
    zero_rank_ends,
    zero_rank_hessian,
    zero_rank_operator,
    zero_rank_spectrum,
)
from pcbench.theory.second_order import (
    HessianProduct,
    energy_hessian_product,
    loss_hessian_product,
)
from pcbench.theory.underflow import SMALLEST, norm_underflow

__all__ = [
    "CONFIDENCE",
    "SMALLEST",
    "AdamSteps",
    "Descent",
    "EquilibriumRounding",
    "Fallen",
    "FeedforwardRounding",
    "FirstSteps",
    "GradientDescent",
    "Growth",
    "HessianProduct",
    "HessianRounding",
    "InferenceSteps",
    "InnerSystem",
    "Layered",
    "LayeredRounding",
    "Moments",
    "NoEquilibriumError",
    "Optimiser",
    "Rule",
    "Slopes",
    "Steps",
    "StepsRounding",
    "UndecidableError",
    "UnfinishedInference",
    "activities_from_errors",
    "activity_hessian",
    "activity_hessian_product",
    "activity_residuals",
    "backpropagation_rounding",
    "chain",
    "chain_escape_times",
    "chains_from_output",
    "chains_to_input",
    "clearance",
    "contraction_rate",
    "decided",
    "demand_definite",
    "demand_range",
    "direct_solve_residual",
    "energy_gradients",
    "energy_hessian_product",
    "equilibrated_energy",
    "equilibrated_energy_gradient",
    "equilibrium_activities",
    "equilibrium_errors",
    "equilibrium_rounding",
    "escape_exponent",
    "escape_rates",
    "feedforward",
    "feedforward_residual",
    "feedforward_rounding",
    "first_steps",
    "flowed",
    "growth",
    "hessian_rounding",
    "inference_steps",
    "inner_system",
    "kink_margin",
    "largest_curvatures",
    "layered_energies",
    "layered_errors",
    "layered_loss",
    "layered_loss_gradients",
    "layered_rounding",
    "leading_share",
    "least_activity_curvature",
    "least_curvatures",
    "least_losses",
    "least_slope",
    "logarithmic_exponent",
    "loss",
    "loss_gradient",
    "loss_gradient_rounding",
    "loss_hessian_product",
    "masked_energy",
    "masked_energy_gradient",
    "masked_equilibrium",
    "norm_underflow",
    "origin_hessian",
    "origin_spectrum",
    "output_covariance",
    "output_covariance_norm",
    "potentials",
    "prediction_errors",
    "product_floor",
    "pull_back",
    "relaxed_activities",
    "residual_norm",
    "residuals",
    "room_to_kinks",
    "stage_coefficient",
    "steps_per_e_fold",
    "steps_rounding",
    "steps_to_fall",
    "top_direction",
    "unfinished_inference",
    "unit_roundoff",
    "vanishing_slopes",
    "weigh",
    "weighted_errors",
    "with_rounding",
    "zero_rank_curvature_bound",
    "zero_rank_ends",
    "zero_rank_hessian",
    "zero_rank_operator",
    "zero_rank_spectrum",
]
