"""Tolerances where numbers end: what float64 cannot tell, and what flushes to zero."""

import numpy as np
import pytest
import torch

from pcbench.theory.linear.equilibrium import loss_gradient, output_covariance_norm, residuals
from pcbench.theory.nonlinear.layered import (
    Layered,
    activity_residuals,
    energy_gradients,
    feedforward,
    layered_energies,
    layered_loss,
    layered_loss_gradients,
)
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.optimisers import AdamSteps, GradientDescent
from pcbench.theory.rounding.passes import backpropagation_rounding, feedforward_rounding
from pcbench.theory.rounding.perturbation import equilibrium_rounding
from pcbench.theory.rounding.range import demand_definite, demand_range
from pcbench.theory.rounding.undecidable import UndecidableError
from pcbench.theory.rounding.underflow import SMALLEST, norm_underflow

U = unit_roundoff("float64")


def problem(depth, width, std, samples=8):
    rng = np.random.default_rng(1)
    weights = [std * rng.standard_normal((width, width)) for _ in range(depth)]
    x, y = rng.standard_normal((2, samples, width))
    return weights, x, y


@pytest.mark.parametrize(
    ("depth", "width", "std", "finite"),
    [(10, 50, 0.1, True), (10, 50, 0.5, True), (20, 50, 0.4, False), (40, 20, 1e3, False)],
)
def test_equilibria_have_a_bound_exactly_where_float64_resolves_the_covariance(
    depth, width, std, finite
):
    found = equilibrium_rounding(*problem(depth, width, std), U)
    bounds = [found.energy, found.residual, found.output, *found.gradients, *found.carried]
    assert np.isfinite(bounds).all() == finite
    assert finite or np.isinf(bounds).all()


@pytest.mark.parametrize("std", [0.4, 0.7])
def test_predictions_are_bounded_however_large_the_covariance(std):
    """Once the perturbations vanished here, and 1e-38 was all that was allowed."""
    weights, x, y = problem(20, 50, std)
    bound = equilibrium_rounding(weights, x, y, U).prediction
    forward = x
    for weight in weights:
        forward = forward @ weight.T
    other = y - residuals(weights, x, y)
    apart = np.linalg.norm(forward - other)
    assert 0 < apart < bound < 1e-6 * np.linalg.norm(forward)


def test_one_output_is_resolved_however_large_its_covariance():
    weights, x, y = problem(20, 1, 100.0)
    assert output_covariance_norm(weights) > 1e50
    assert np.isfinite(equilibrium_rounding(weights, x, y, U).gradients).all()


def flushed(array):
    return np.where(np.abs(array) < SMALLEST, 0.0, array)


@pytest.mark.parametrize(("depth", "std"), [(10, 2e-5), (11, 5.6e-5), (14, 3e-4)])
def test_a_pass_that_flushes_what_underflows_is_within_the_bound(depth, std):
    weights, x, y = problem(depth, 12, std, samples=6)
    forward = [x]
    for weight in weights:
        products = flushed(forward[-1][:, None, :] * weight)
        forward.append(flushed(products.sum(axis=2)))
    sent, gradients = (forward[-1] - y) / len(x), []
    for weight, below in zip(reversed(weights), reversed(forward[:-1]), strict=True):
        gradients.insert(0, flushed(flushed(sent[:, :, None] * below[:, None, :]).sum(axis=0)))
        sent = flushed(flushed(sent[:, :, None] * weight).sum(axis=1))
    exact = loss_gradient(weights, x, y)
    network = Layered(weights, None, "identity", "post")
    allowed = backpropagation_rounding(network, x, y, U)
    apart = [np.linalg.norm(a - b) for a, b in zip(gradients, exact, strict=True)]
    assert max(apart) > SMALLEST / 4  # it does flush something
    assert (np.array(apart) <= allowed).all()
    assert max(allowed) < 1e-30


def test_what_no_dtype_holds_is_named():
    weights, x, y = problem(12, 20, 100.0)
    network = Layered(weights, None, "identity", "post")
    demand_range(network, x, y, float(np.finfo("float64").max))
    with pytest.raises(UndecidableError, match="the dtype ends at 3"):
        demand_range(network, x, y, float(np.finfo("float32").max))


def test_a_least_curvature_lost_in_the_largest_is_named():
    demand_definite(np.array([1e-9]), np.array([1.0]), 100)
    with pytest.raises(UndecidableError, match="lost in the rounding"):
        demand_definite(np.array([1e-15]), np.array([1.0]), 100)


@pytest.fixture
def flushing():
    assert torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize("size", [1.0, 2.0**-10, 0.99 * 2.0**-63, 2.0**-120])
def test_a_norm_whose_squares_are_flushed_is_within_the_bound(size):
    entries = torch.full((400,), size)
    off = norm_underflow(20 * size, 400)
    rounding = 400 * 2.0**-24 * 20 * size
    assert abs(float(torch.sqrt((entries**2).sum())) - 20 * size) <= off + rounding
    if size >= 2.0**-10:  # and a norm of ordinary size has to be as it is
        assert off < 2.0**-100
    if size == 0.99 * 2.0**-63:
        assert 20 * size <= off < 1.5 * 20 * size  # all of it is lost


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize("epsilon", [1e-8, 1e-25, None], ids=["adam", "tiny epsilon", "sgd"])
@pytest.mark.parametrize("std", [1e-12, 1e-17, 1e-19, 1e-30, 1e-37])
def test_steps_that_flush_are_within_the_bound_and_wrong_ones_are_not(std, epsilon):
    rng = np.random.default_rng(0)
    gradients = [(std * rng.standard_normal(400)).astype(np.float32) for _ in range(4)]
    theta = torch.zeros(400, requires_grad=True)
    rate = 0.01
    if epsilon is None:
        ours, theirs = GradientDescent(rate), torch.optim.SGD([theta], lr=rate)
    else:
        ours = AdamSteps(rate, 1.0, 0.9, 0.999, epsilon)
        theirs = torch.optim.Adam([theta], lr=rate, eps=epsilon)
    for gradient in gradients:
        before = theta.detach().numpy().astype(float)
        theta.grad = torch.from_numpy(gradient)
        theirs.step()
        after, off = ours.step(before, gradient.astype(float), 0.0, 2.0**-24)
        assert np.linalg.norm(theta.detach().numpy().astype(float) - after) <= off
    if std > 1e-17 or epsilon is None:  # a step a hundredth too long is wrong
        assert off < max(0.01 * np.linalg.norm(after - before), 2.0**-120)


@pytest.mark.parametrize(("depth", "std", "finite"), [(7, 70, True), (40, 1, False)])
def test_saturated_networks_have_a_bound_as_long_as_float64_can_tell(depth, std, finite):
    """Once a bound rested on a single draw, of gradients that few potentials carry."""
    rng = np.random.default_rng(3)
    weights = [std * rng.standard_normal((200, 200)) for _ in range(depth)]
    x, y = rng.standard_normal((2, 6, 200))
    order = [np.arange(200), *(rng.permutation(200) for _ in weights[1:]), np.arange(200)]
    other = [weights[l][np.ix_(order[l + 1], order[l])] for l in range(depth)]
    ours, theirs = (Layered(w, None, "tanh", "post") for w in (weights, other))
    bounds = backpropagation_rounding(ours, x, y, U)
    loss = feedforward_rounding(ours, x, y, U).loss
    assert np.isfinite(bounds).all() == np.isfinite(loss) == finite
    if finite:
        gradients, summed_otherwise = (
            layered_loss_gradients(net, x, y)[0] for net in (ours, theirs)
        )
        apart = [
            np.linalg.norm(a[np.ix_(order[l + 1], order[l])] - b)
            for l, (a, b) in enumerate(zip(gradients, summed_otherwise, strict=True))
        ]
        assert (np.array(apart) < 0.2 * np.array(bounds)).all()


DEEP = [("float64", 20, 30.0), ("float64", 40, 1e3), ("float32", 20, 30.0), ("float32", 40, 1e3)]


def saturated(dtype, depth, std):
    rng = np.random.default_rng(1)
    weights = [(std * rng.standard_normal((50, 50))).astype(dtype) for _ in range(depth)]
    x, y = rng.standard_normal((2, 6, 50)).astype(dtype)
    network = Layered([w.astype(float) for w in weights], None, "tanh", "post")
    return network, weights, x, y


def test_a_covariance_that_a_simulated_rounding_makes_indefinite_leaves_no_bound():
    """Once an error: the factorisation of the covariance that rounding had moved."""
    rng = np.random.default_rng(134)
    std = 10 ** rng.uniform(-1, 3)
    weights = [std * rng.standard_normal(shape) for shape in ((10, 1), (1, 10), (6, 1))]
    x, y = rng.standard_normal((1, 1)), rng.standard_normal((1, 6))
    bounds = equilibrium_rounding(weights, x, y, U)
    assert bounds.energy == np.inf
    assert np.isfinite([bounds.loss, bounds.prediction]).all()


@pytest.mark.parametrize(("dtype", "depth", "std"), DEEP)
def test_what_is_flushed_in_a_deep_saturated_network_is_no_excuse(dtype, depth, std):
    """Once 5e140 was allowed on an energy of 1e9: products of norms that nothing travels by."""
    network, _, x, y = saturated(dtype, depth, std)
    x, y, u = x.astype(float), y.astype(float), unit_roundoff(dtype)
    at = [*feedforward(network, x)[:-1], y]
    bounds = layered_rounding(network, at, u)
    assert max(bounds.energies) < 1e-3 * layered_energies(network, at).max()
    assert max(bounds.gradients) < 1e-3 * max(map(np.linalg.norm, energy_gradients(network, at)[0]))
    forces = np.concatenate(activity_residuals(network, at), axis=1)
    assert bounds.residual < 1e-3 * np.linalg.norm(forces)
    assert feedforward_rounding(network, x, y, u).loss < 1e-2 * layered_loss(network, x, y)
    largest = max(map(np.linalg.norm, layered_loss_gradients(network, x, y)[0]))
    assert max(backpropagation_rounding(network, x, y, u)) < 0.1 * largest


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize(("dtype", "depth", "std"), DEEP)
def test_a_backend_that_flushes_is_within_the_bounds_of_a_deep_saturated_network(dtype, depth, std):
    network, weights, x, y = saturated(dtype, depth, std)
    layers = [torch.tensor(weight, requires_grad=True) for weight in weights]
    z = torch.tensor(x)
    for number, layer in enumerate(layers, start=1):
        z = z @ layer.T
        z = torch.tanh(z) if number < depth else z
    loss = ((torch.tensor(y) - z) ** 2).sum() / (2 * len(x))
    gradients = torch.autograd.grad(loss, layers)
    x, y, u = x.astype(float), y.astype(float), unit_roundoff(dtype)
    allowed = backpropagation_rounding(network, x, y, u)
    due, _ = layered_loss_gradients(network, x, y)
    for ours, theirs, off in zip(due, gradients, allowed, strict=True):
        assert np.linalg.norm(theirs.numpy().astype(float) - ours) <= off
    off = feedforward_rounding(network, x, y, u).loss
    assert abs(loss.item() - layered_loss(network, x, y)) <= off


def test_gradients_of_a_layer_that_is_all_rounding_in_float32_have_no_bound():
    """Once 1e11 was allowed on gradients of 1e8."""
    rng = np.random.default_rng(0)
    weights = [(9.2 * rng.standard_normal((40, 40))).astype("float32") for _ in range(20)]
    x, y = rng.standard_normal((2, 5, 40))
    network = Layered([weight.astype(float) for weight in weights], None, "tanh", "post")
    assert np.isinf(backpropagation_rounding(network, x, y, unit_roundoff("float32"))).all()
    bounds = backpropagation_rounding(network, x, y, U)
    gradients, _ = layered_loss_gradients(network, x, y)
    assert max(bounds) < 1e-2 * max(map(np.linalg.norm, gradients))
