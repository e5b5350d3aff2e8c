"""Each closed form beside the same thing worked out from the definitions: how far they are apart.

The judge is a parameter: ``CLOSED_FORMS``, or a variant of one of their modules that is wrong.
"""

from types import SimpleNamespace

import numpy as np
import torch

from pcbench.theory.linear import equilibrium, saddles
from tests.helpers import linear_definitions as definitions
from tests.helpers.closeness import apart
from tests.theory.linear import forces

CLOSED_FORMS = SimpleNamespace(**{**vars(equilibrium), **vars(saddles), **vars(forces)})
"""All that the modules of closed forms define."""

STEP = 0.3
OBJECTIVES = ("loss", "energy")


def energy(judge, problem):
    weights, x, y = problem.tensors
    return apart(
        judge.equilibrated_energy(*problem.parts), definitions.equilibrated_energy(weights, x, y)
    )


def masked_energy(judge, problem):
    weights, x, y = problem.tensors
    observed = problem.y > 0  # about half of the outputs, in some samples all or none
    return apart(
        judge.equilibrated_energy(*problem.parts, observed),
        definitions.equilibrated_energy(weights, x, y, torch.tensor(observed)),
    )


def energy_gradient(judge, problem):
    """Against the local gradient at the minimiser, which the envelope theorem makes the whole."""
    weights, x, y = problem.tensors
    activities = definitions.equilibrium(weights, x, y)
    return apart(
        judge.equilibrated_energy_gradient(*problem.parts),
        definitions.gradients(lambda moved: definitions.energy(moved, activities), weights),
    )


def loss(judge, problem):
    return apart(judge.loss(*problem.parts), definitions.loss(*problem.tensors))


def loss_gradient(judge, problem):
    weights, x, y = problem.tensors
    return apart(
        judge.loss_gradient(*problem.parts),
        definitions.gradients(lambda moved: definitions.loss(moved, x, y), weights),
    )


def output_covariance(judge, problem):
    """``S⁻¹`` is the curvature of one sample's minimal energy in its target."""
    weights, x, y = problem.tensors

    def of_target(target):
        return definitions.equilibrated_energy(weights, x[:1], target[None])

    curvature = torch.autograd.functional.hessian(of_target, y[0])
    return apart(judge.output_covariance(problem.weights), torch.linalg.inv(curvature))


def output_covariance_norm(judge, problem):
    eigenvalues = np.linalg.eigvals(judge.output_covariance(problem.weights))
    return apart(judge.output_covariance_norm(problem.weights), np.abs(eigenvalues).max())


def equilibrium_activities(judge, problem):
    return apart(
        judge.equilibrium_activities(*problem.parts), definitions.equilibrium(*problem.tensors)
    )


def equilibrium_errors(judge, problem):
    weights, *_ = problem.tensors
    errors = definitions.prediction_errors(weights, definitions.equilibrium(*problem.tensors))
    return apart(judge.equilibrium_errors(*problem.parts), errors)


def prediction_errors(judge, problem):
    weights, *_ = problem.tensors
    activities = random_activities(problem)
    return apart(
        judge.prediction_errors(problem.weights, [a.numpy() for a in activities]),
        definitions.prediction_errors(weights, activities),
    )


def activities_from_errors(judge, problem):
    weights, *_ = problem.tensors
    activities = random_activities(problem)
    errors = [e.numpy() for e in definitions.prediction_errors(weights, activities)]
    return apart(judge.activities_from_errors(problem.weights, problem.x, errors), activities)


def residual_norm(judge, problem):
    weights, *_ = problem.tensors
    activities = random_activities(problem)
    errors = [e.numpy() for e in definitions.prediction_errors(weights, activities)]
    return apart(
        np.linalg.norm(np.concatenate(judge.hidden_forces(problem.weights, errors), axis=1)),
        definitions.activity_gradient(weights, activities).norm(),
    )


def feedforward_residual(judge, problem):
    weights, x, y = problem.tensors
    activities = [*definitions.forward(weights, x)[:-1], y]
    return apart(
        judge.feedforward_residual(*problem.parts),
        definitions.activity_gradient(weights, activities).norm(),
    )


def activity_hessian(judge, problem):
    weights, *_ = problem.tensors
    return apart(judge.activity_hessian(problem.weights), definitions.activity_hessian(weights))


def least_activity_curvature(judge, problem):
    weights, *_ = problem.tensors
    least = torch.linalg.eigvalsh(definitions.activity_hessian(weights))[0]
    return apart(judge.least_activity_curvature(problem.weights), least)


def contraction_rate(judge, problem):
    """Displace an equilibrium by a unit of each activity in turn, and take one step from there."""
    weights, x, y = problem.tensors
    units = definitions.hidden_units(weights)
    x, y = x[:1].expand(units, -1), y[:1].expand(units, -1)
    hidden = torch.cat(definitions.equilibrium(weights, x, y)[1:-1], dim=1)
    displaced = hidden + torch.eye(units)
    slope = definitions.activity_gradient(weights, definitions.between(weights, x, displaced, y))
    left = displaced - STEP * slope - hidden
    return apart(
        judge.contraction_rate(problem.weights, STEP), torch.linalg.matrix_norm(left, ord=2)
    )


def origin_hessian(judge, problem):
    ours = [
        judge.origin_hessian(problem.network.widths, problem.x, problem.y, objective).toarray()
        for objective in OBJECTIVES
    ]
    return apart(ours, dense_hessians(problem))


def origin_spectrum(judge, problem):
    ours = [
        judge.origin_spectrum(problem.network.widths, problem.x, problem.y, objective)
        for objective in OBJECTIVES
    ]
    return apart(ours, [np.linalg.eigvalsh(hessian) for hessian in dense_hessians(problem)])


def zero_rank_hessian(judge, problem):
    ours = [judge.zero_rank_hessian(*problem.parts, o).toarray() for o in OBJECTIVES]
    return apart(ours, dense_hessians(problem))


def zero_rank_spectrum(judge, problem):
    ours = [judge.zero_rank_spectrum(*problem.parts, objective) for objective in OBJECTIVES]
    return apart(ours, [np.linalg.eigvalsh(hessian) for hessian in dense_hessians(problem)])


def zero_rank_curvature_bound(judge, problem):
    """Where the cross blocks vanish, the bound is the least curvature."""
    _, of_energy = dense_hessians(problem)
    return apart(
        judge.zero_rank_curvature_bound(problem.weights, problem.y),
        np.linalg.eigvalsh(of_energy)[0],
    )


def dense_hessians(problem):
    """Hessians of loss and energy, differentiated through a dense minimisation."""
    weights, x, y = problem.tensors
    return [
        definitions.hessian(
            lambda moved, function=definitions.OBJECTIVES[objective]: function(moved, x, y), weights
        ).numpy()
        for objective in OBJECTIVES
    ]


def random_activities(problem):
    """Activities that are no equilibrium, between the input and the target."""
    weights, x, y = problem.tensors
    generator = torch.Generator().manual_seed(0)
    units = definitions.hidden_units(weights)
    hidden = torch.randn(len(x), units, generator=generator, dtype=torch.float64)
    return definitions.between(weights, x, hidden, y)
