"""Deep linear networks by their definitions alone (theory.md 1), worked out by brute force.

Nothing of pcbench is used here: its closed forms are held against these. Tensors of any dtype, and
everything can be differentiated, the minimum over the activities included.
"""

import numpy as np
import torch


def tensors(arrays, dtype=torch.float64):
    return [torch.tensor(array, dtype=dtype) for array in arrays]


def prediction_errors(weights, activities):
    """``e_l = z_l - W_l z_{l-1}``, one sample a row."""
    pairs = zip(weights, activities, activities[1:], strict=False)
    return [above - below @ weight.T for weight, below, above in pairs]


def layer_energies(weights, activities):
    errors = prediction_errors(weights, activities)
    return torch.stack([e.square().sum() / (2 * len(e)) for e in errors])


def energy(weights, activities):
    """``𝓕 = 1/(2N) Σ_n Σ_l ‖e_l‖²``."""
    return layer_energies(weights, activities).sum()


def forward(weights, x):
    """Activities of a forward pass, input first."""
    activities = [x]
    for weight in weights:
        activities.append(activities[-1] @ weight.T)
    return activities


def loss(weights, x, y):
    """``𝓛 = 1/(2N) Σ_n ‖y - ŷ‖²``."""
    return (y - forward(weights, x)[-1]).square().sum() / (2 * len(x))


def hidden_units(weights):
    return sum(len(weight) for weight in weights[:-1])


def between(weights, x, hidden, y):
    """All activities, from the hidden ones side by side."""
    return [x, *torch.split(hidden, [len(weight) for weight in weights[:-1]], dim=-1), y]


def equilibrium(weights, x, y, observed=None):
    """Minimise over the hidden activities; outputs that are not observed have precision 0.

    The errors are affine in the activities. What they are where all activities are 0, and what a
    unit of each activity changes, give the normal equations, and those are solved densely.
    """
    units = hidden_units(weights)
    at_zero = _errors_side_by_side(weights, x, x.new_zeros(len(x), units), y)
    no_x, no_y = x.new_zeros(units, x.shape[1]), y.new_zeros(units, y.shape[1])
    change = _errors_side_by_side(weights, no_x, torch.eye(units, dtype=x.dtype), no_y)
    precision = torch.ones_like(at_zero)
    if observed is not None:
        precision[:, units:] = observed.to(x.dtype)
    hidden = [
        torch.linalg.solve(change * p @ change.T, change @ (-p * e))
        for p, e in zip(precision, at_zero, strict=True)
    ]
    return between(weights, x, torch.stack(hidden), y)


def _errors_side_by_side(weights, x, hidden, y):
    return torch.cat(prediction_errors(weights, between(weights, x, hidden, y)), dim=1)


def equilibrated_energy(weights, x, y, observed=None):
    """``𝓕* = min_z 𝓕``, outputs that are not observed left out of the sum."""
    errors = prediction_errors(weights, equilibrium(weights, x, y, observed))
    if observed is not None:
        errors[-1] = errors[-1] * observed
    return sum(e.square().sum() for e in errors) / (2 * len(x))


OBJECTIVES = {"loss": loss, "energy": equilibrated_energy}


def gradients(function, tensors):
    """Differentiate a scalar function of a list of tensors by autograd."""
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    return list(torch.autograd.grad(function(tensors), tensors, materialize_grads=True))


def central_differences(function, tensors, step=1e-5):
    """Differentiate a scalar function of a list of tensors without autograd."""

    def moved(which, entry, shift):
        copies = [tensor.clone() for tensor in tensors]
        copies[which][entry] += shift
        return function(copies)

    slopes = [torch.zeros_like(tensor) for tensor in tensors]
    for which, slope in enumerate(slopes):
        for entry in np.ndindex(*slope.shape):
            up, down = moved(which, entry, step), moved(which, entry, -step)
            slope[entry] = (up - down) / (2 * step)
    return slopes


def hessian(function, weights):
    """Differentiate a scalar function of the weights twice, by autograd.

    Parameters are ordered layer by layer, each row by row.
    """

    def of_vector(vector):
        parts = torch.split(vector, [weight.numel() for weight in weights])
        return function([p.view_as(w) for p, w in zip(parts, weights, strict=True)])

    vector = torch.cat([weight.reshape(-1) for weight in weights])
    return torch.autograd.functional.hessian(of_vector, vector, vectorize=True)


def activity_gradient(weights, activities):
    """Differentiate ``N𝓕`` in the hidden activities, side by side, by autograd."""

    def scaled(hidden):
        return len(activities[0]) * energy(weights, [activities[0], *hidden, activities[-1]])

    return torch.cat(gradients(scaled, activities[1:-1]), dim=1)


def activity_hessian(weights):
    """Differentiate ``N𝓕`` of one sample twice in its hidden activities, by autograd."""
    x = weights[0].new_zeros(1, weights[0].shape[1])
    y = weights[-1].new_zeros(1, len(weights[-1]))

    def of_sample(hidden):
        return energy(weights, between(weights, x, hidden[None], y))

    start = weights[0].new_zeros(hidden_units(weights))
    return torch.autograd.functional.hessian(of_sample, start, vectorize=True)
