"""Non-linear networks against their definition (1): in torch, and in loops over every pixel."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pcbench.theory.linear import equilibrium
from pcbench.theory.linear.equilibrium import (
    equilibrated_energy,
    equilibrated_energy_gradient,
    equilibrium_activities,
    loss_gradient,
    prediction_errors,
)
from pcbench.theory.nonlinear import layered
from pcbench.theory.nonlinear.layered import Layered
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import problems, samples, seeds, widths

quick = settings(max_examples=30, deadline=None)
slower = settings(max_examples=15, deadline=None)

# Image, then channels, kernel and pool of each convolution.
CONVOLUTIONS = [
    ((1, 3, 4), []),
    ((2, 4, 6), [(3, 3, 2)]),
    ((2, 3, 3), [(2, 3, 1), (1, 1, 3)]),
    ((1, 4, 4), [(2, 5, 2), (3, 3, 1)]),
]


def networks(activations=layered.ACTIVATIONS, convolutions=CONVOLUTIONS):
    """Arguments of ``draw``: strategies may not run the package (see ``linear_problems``)."""
    return st.tuples(
        st.sampled_from(activations),
        st.sampled_from(layered.CONVENTIONS),
        st.booleans(),
        st.sampled_from(convolutions),
        widths(min_layers=1, max_layers=3, max_width=4).map(lambda dense: dense[1:]),
        samples,
        seeds,
    )


def draw(activation, convention, bias, convolutions, dense, samples, seed):
    """Draw a network, activities far from equilibrium, and precisions of which some are 0."""
    rng = np.random.default_rng(seed)
    image, stages = convolutions
    shapes, images, units = [], [], [int(np.prod(image))]
    for channels, kernel, pool in stages:
        images.append(image)
        shapes.append((channels, image[0], kernel, kernel))
        image = (channels, image[1] // pool, image[2] // pool)
        units.append(int(np.prod(image)))
    shapes += [(out, inp) for inp, out in pairwise([units[-1], *dense])]
    network = Layered(
        [rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) for shape in shapes],
        [rng.standard_normal(shape[0]) for shape in shapes] if bias else None,
        activation,
        convention,
        images,
        [pool for _, _, pool in stages],
    )
    activities = [rng.standard_normal((samples, width)) for width in [*units, *dense]]
    precision = rng.uniform(0.2, 3.0, activities[-1].shape) * rng.integers(0, 2, (samples, 1))
    return network, activities, precision


# --- The definition in torch, which differentiates it.

TORCH = {
    "identity": lambda z: z,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "silu": functional.silu,
}


def torch_layer(network, l, weight, bias, z):
    last, φ = len(network.weights), TORCH[network.activation]
    if network.convention == "pre" and l > 1:
        z = φ(z)
    pool = 0
    if l <= len(network.images):
        z = z.reshape(len(z), *network.images[l - 1])
        z, pool = functional.conv2d(z, weight, bias, padding="same"), network.pools[l - 1]
    else:
        z = functional.linear(z, weight, bias)
    if network.convention == "post" and l < last:
        z = φ(z)
    return functional.max_pool2d(z, pool).flatten(1) if pool else z


def torch_parameters(network):
    weights = [torch.tensor(weight, requires_grad=True) for weight in network.weights]
    if network.biases is None:
        return weights, [None] * len(weights)
    return weights, [torch.tensor(bias, requires_grad=True) for bias in network.biases]


def torch_energies(network, parameters, activities, precision):
    energies = []
    for l, parts in enumerate(zip(*parameters, strict=True), start=1):
        squares = (activities[l] - torch_layer(network, l, *parts, activities[l - 1])) ** 2
        if l == len(network.weights):
            squares = squares * torch.tensor(precision)
        energies.append(squares.sum() / (2 * len(activities[0])))
    return torch.stack(energies)


def torch_loss(network, parameters, x, y, precision):
    z = torch.tensor(x)
    for l, parts in enumerate(zip(*parameters, strict=True), start=1):
        z = torch_layer(network, l, *parts, z)
    return (torch.tensor(precision) * (torch.tensor(y) - z) ** 2).sum() / (2 * len(x))


def slopes(value, tensors):
    return [slope.numpy() for slope in torch.autograd.grad(value, tensors, retain_graph=True)]


@quick
@given(arguments=networks())
def test_energies_and_their_slopes_are_those_of_the_definition(arguments):
    network, activities, precision = draw(*arguments)
    parameters = torch_parameters(network)
    z = [torch.tensor(activity, requires_grad=True) for activity in activities]
    energies = torch_energies(network, parameters, z, precision)

    ours = layered.layered_energies(network, activities, precision)
    assert apart(ours, energies.detach().numpy()) < SAME
    hidden = z[1:-1]
    residuals = layered.activity_residuals(network, activities, precision)
    assert len(residuals) == len(hidden)
    if hidden:
        assert apart(residuals, slopes(len(z[0]) * energies.sum(), hidden)) < SAME
    by_weights, by_biases = layered.energy_gradients(network, activities, precision)
    assert apart(by_weights, slopes(energies.sum(), parameters[0])) < SAME
    if network.biases is None:
        assert by_biases is None
    else:
        assert apart(by_biases, slopes(energies.sum(), parameters[1])) < SAME


@quick
@given(arguments=networks())
def test_loss_and_its_slopes_are_those_of_the_definition(arguments):
    network, (x, *_, y), precision = draw(*arguments)
    parameters = torch_parameters(network)
    loss = torch_loss(network, parameters, x, y, precision)

    assert apart(layered.layered_loss(network, x, y, precision), loss.item()) < SAME
    by_weights, by_biases = layered.layered_loss_gradients(network, x, y, precision)
    assert apart(by_weights, slopes(loss, parameters[0])) < SAME
    if network.biases is None:
        assert by_biases is None
    else:
        assert apart(by_biases, slopes(loss, parameters[1])) < SAME


@quick
@given(arguments=networks())
def test_each_layer_is_pulled_back_alone(arguments):
    network, activities, _ = draw(*arguments)
    parameters = torch_parameters(network)
    for l, parts in enumerate(zip(*parameters, strict=True), start=1):
        z, e = activities[l - 1], activities[l]
        below = torch.tensor(z, requires_grad=True)
        work = (torch_layer(network, l, *parts, below) * torch.tensor(e)).sum()
        assert apart(layered.pull_back(network, l, z, e), slopes(work, [below])[0]) < SAME
        by_weight, by_bias = layered.parameter_gradient(network, l, z, e)
        assert apart(by_weight, slopes(work, [parts[0]])[0]) < SAME
        if by_bias is not None:
            assert apart(by_bias, slopes(work, [parts[1]])[0]) < SAME


# --- The definition in loops, which no library shares; differentiated by central differences.

SCALAR = {
    "identity": lambda z: z,
    "tanh": np.tanh,
    "relu": lambda z: z if z > 0 else 0.0,
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "silu": lambda z: z / (1 + np.exp(-z)),
}


def looped_convolution(weight, bias, image):
    """Sum over the pixels that exist: what lies beyond the border is 0."""
    channels, height, width = image.shape
    half = weight.shape[-1] // 2
    out = np.zeros((len(weight), height, width))
    for o, i, j in np.ndindex(*out.shape):
        out[o, i, j] = bias[o]
        for c, p, q in np.ndindex(channels, 2 * half + 1, 2 * half + 1):
            row, column = i + p - half, j + q - half
            if 0 <= row < height and 0 <= column < width:
                out[o, i, j] += weight[o, c, p, q] * image[c, row, column]
    return out


def looped_pooling(image, side):
    channels, height, width = image.shape
    out = np.zeros((channels, height // side, width // side))
    for c, i, j in np.ndindex(*out.shape):
        out[c, i, j] = max(
            image[c, i * side + p, j * side + q] for p in range(side) for q in range(side)
        )
    return out


def looped_layer(network, l, z):
    """One sample of one layer."""
    φ = np.vectorize(SCALAR[network.activation], otypes=[float])
    weight = network.weights[l - 1]
    bias = np.zeros(len(weight)) if network.biases is None else network.biases[l - 1]
    last = l == len(network.weights)
    if network.convention == "pre" and l > 1:
        z = φ(z)
    if l > len(network.images):
        a = np.array([sum(w * u for w, u in zip(row, z, strict=True)) for row in weight]) + bias
    else:
        a = looped_convolution(weight, bias, z.reshape(network.images[l - 1]))
    if network.convention == "post" and not last:
        a = φ(a)
    return a if l > len(network.images) else looped_pooling(a, network.pools[l - 1]).ravel()


def looped_energy(network, activities, precision):
    total = 0.0
    for n in range(len(precision)):
        for l in range(1, len(network.weights) + 1):
            error = activities[l][n] - looped_layer(network, l, activities[l - 1][n])
            last = l == len(network.weights)
            total += sum(error**2 * precision[n]) if last else sum(error**2)
    return total / (2 * len(precision))


@slower
@given(arguments=networks())
def test_layers_are_those_of_loops_over_every_pixel(arguments):
    network, activities, _ = draw(*arguments)
    for l in range(1, network.depth + 1):
        z = activities[l - 1]
        expected = np.stack([looped_layer(network, l, row) for row in z])
        assert apart(layered.layer(network, l, z), expected) < SAME


@slower
@given(arguments=networks(), seed=seeds)
def test_slopes_are_central_differences_of_the_energy(arguments, seed):
    """Along one direction in all activities, weights and biases at once."""
    network, activities, precision = draw(*arguments)
    rng, step = np.random.default_rng(seed), 1e-6
    along = [
        [rng.standard_normal(array.shape) for array in arrays]
        for arrays in (activities[1:-1], network.weights, network.biases or [])
    ]

    def energy(distance):
        hidden, weights, biases = (
            [array + distance * change for array, change in zip(arrays, changes, strict=True)]
            for arrays, changes in zip(
                (activities[1:-1], network.weights, network.biases or []), along, strict=True
            )
        )
        moved = Layered(
            weights,
            biases or None,
            network.activation,
            network.convention,
            network.images,
            network.pools,
        )
        return looped_energy(moved, [activities[0], *hidden, activities[-1]], precision)

    before, here, after = energy(-step), energy(0.0), energy(step)
    ours = 0.0
    residuals = layered.activity_residuals(network, activities, precision)
    by_weights, by_biases = layered.energy_gradients(network, activities, precision)
    for slope, change in zip(residuals, along[0], strict=True):
        ours += np.sum(slope * change) / len(precision)
    for slope, change in zip([*by_weights, *(by_biases or [])], along[1] + along[2], strict=True):
        ours += np.sum(slope * change)
    tolerance = 1e-6 * max(here, 1.0)
    if "relu" in network.activation or network.images:
        # A kink within the step would bend the difference by no more than it bends the energy.
        tolerance += abs(after - 2 * here + before) / (2 * step)
    assert abs(ours - (after - before) / (2 * step)) < tolerance


# --- What must be true whatever the formulas.


@quick
@given(problem=problems(), convention=st.sampled_from(layered.CONVENTIONS))
def test_identity_networks_are_the_linear_networks_of_the_closed_forms(problem, convention):
    weights, x, y = problem.parts
    network = Layered(weights, None, "identity", convention)
    activities = equilibrium_activities(weights, x, y)
    activities[-1] = y
    assert (
        apart(
            layered.layered_errors(network, activities),
            prediction_errors(weights, activities),
        )
        < SAME
    )
    energy = equilibrated_energy(weights, x, y)
    assert apart(layered.layered_energies(network, activities).sum(), energy) < SAME
    for residual in layered.activity_residuals(network, activities):
        assert np.abs(residual).max() < SAME
    by_weights, by_biases = layered.energy_gradients(network, activities)
    assert by_biases is None
    assert apart(by_weights, equilibrated_energy_gradient(weights, x, y)) < SAME
    assert apart(layered.layered_loss(network, x, y), equilibrium.loss(weights, x, y)) < SAME
    by_weights, _ = layered.layered_loss_gradients(network, x, y)
    assert apart(by_weights, loss_gradient(weights, x, y)) < SAME


@quick
@given(arguments=networks())
def test_feedforward_activities_have_no_errors(arguments):
    network, (x, *_), _ = draw(*arguments)
    activities = layered.feedforward(network, x)
    assert not any(error.any() for error in layered.layered_errors(network, activities))
    assert layered.layered_loss(network, x, activities[-1]) == 0


def everything(network, activities, precision):
    x, y = activities[0], activities[-1]
    by_weights, by_biases = layered.energy_gradients(network, activities, precision)
    loss_by_weights, loss_by_biases = layered.layered_loss_gradients(network, x, y, precision)
    return [
        layered.layered_energies(network, activities, precision),
        np.array(layered.layered_loss(network, x, y, precision)),
        *layered.activity_residuals(network, activities, precision),
        *by_weights,
        *(by_biases or []),
        *loss_by_weights,
        *(loss_by_biases or []),
    ]


@slower
@given(arguments=networks(), nothing=st.sampled_from([np.nan, np.inf, -1e300]), seed=seeds)
def test_targets_that_are_not_observed_leak_nowhere(arguments, nothing, seed):
    network, activities, _ = draw(*arguments)
    observed = np.random.default_rng(seed).random(activities[-1].shape) < 0.5
    for precision in (observed, 2.5 * observed):
        expected = everything(network, activities, precision)
        hidden_target = np.where(observed, activities[-1], nothing)
        found = everything(network, [*activities[:-1], hidden_target], precision)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        assert all(np.isfinite(a).all() for a in found)


@slower
@given(arguments=networks())
def test_precisions_broadcast_and_1_is_the_default(arguments):
    network, activities, precision = draw(*arguments)
    default = everything(network, activities, None)
    for ones in (1.0, np.ones(1), np.ones_like(activities[-1], bool)):
        assert apart(everything(network, activities, ones), default) < SAME
    column = precision[:, :1]
    whole = np.repeat(column, activities[-1].shape[1], axis=1)
    broadcast = everything(network, activities, column)
    assert apart(broadcast, everything(network, activities, whole)) < SAME


@pytest.mark.parametrize(
    ("activation", "at_zero"),
    [("identity", 1.0), ("tanh", 1.0), ("relu", 0.0), ("leaky_relu", 0.01), ("silu", 0.5)],
)
@pytest.mark.parametrize("convention", layered.CONVENTIONS)
def test_slopes_at_zero(activation, at_zero, convention):
    network = Layered([np.eye(2)] * 3, None, activation, convention)
    nothing, e = np.zeros((1, 2)), np.array([[1.0, -3.0]])
    assert layered.pull_back(network, 2, nothing, e) == pytest.approx(at_zero * e)


def test_of_equal_maxima_the_first_in_reading_order_is_pulled_back_to():
    image = np.array([[0.0, 7.0, 1.0, 1.0], [7.0, 7.0, 1.0, 1.0]])
    kernel = np.ones((1, 1, 1, 1))
    network = Layered([kernel, np.ones((1, 2))], None, "identity", "post", [(1, 2, 4)], [2])
    assert layered.layer(network, 1, image.reshape(1, -1)).tolist() == [[7.0, 1.0]]
    pulled = layered.pull_back(network, 1, image.reshape(1, -1), np.array([[2.0, 3.0]]))
    assert pulled.reshape(2, 4).tolist() == [[0.0, 2.0, 3.0, 0.0], [0.0] * 4]


def test_what_is_pooled_is_the_activity_not_the_potential():
    """``silu`` falls before it rises: the greater potential may be the lesser activity."""
    potential = np.array([[-0.5, -1.0, -9.0, -2.0]])
    network = Layered(
        [np.ones((1, 1, 1, 1)), np.ones((1, 1))], None, "silu", "post", [(1, 2, 2)], [2]
    )
    assert layered.layer(network, 1, potential)[0, 0] == pytest.approx(-9 / (1 + np.exp(9)))
    pulled = layered.pull_back(network, 1, potential, np.ones((1, 1)))
    assert np.flatnonzero(pulled).tolist() == [2]


def test_without_pools_nothing_is_pooled():
    parts = draw("tanh", "post", True, CONVOLUTIONS[2], (3, 2), 2, 0)[0]
    kernels, biases, images = parts.weights[:1], parts.biases[:1], parts.images[:1]
    z = np.random.default_rng(0).standard_normal((2, 18))
    bare, ones = (Layered(kernels, biases, "tanh", "pre", images, p) for p in ((), (1,)))
    assert apart(layered.layer(bare, 1, z), layered.layer(ones, 1, z)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"activation": "sigmoid"},
        {"convention": "both"},
        {"biases": [np.zeros(2)]},
        {"images": []},
        {"images": [(3, 4, 4)]},
        {"images": [(1, 4, 4), (2, 1, 1)]},
        {"images": [(1, 4, 4)] * 3},
        {"pools": [2, 2]},
        {"pools": [3]},
        {"weights": [np.zeros((2, 1, 2, 2)), np.zeros((3, 8))]},
        {"weights": [np.zeros((2, 1, 3, 5)), np.zeros((3, 8))]},
        {"weights": [np.zeros((2, 16)), np.zeros((3, 2))]},
    ],
)
def test_what_is_no_network_is_refused(wrong):
    right = {
        "weights": [np.zeros((2, 1, 3, 3)), np.zeros((3, 8))],
        "biases": None,
        "activation": "tanh",
        "convention": "post",
        "images": [(1, 4, 4)],
        "pools": [2],
    }
    assert Layered(**right).depth == 2
    with pytest.raises(ValueError, match=r"kernel|no |biases|pools|shape"):
        Layered(**right | wrong)


@pytest.mark.parametrize("l", [0, 3, -1])
def test_layers_that_do_not_exist_are_refused(l):
    network = Layered([np.eye(2), np.eye(2)], None, "tanh", "post")
    with pytest.raises(ValueError, match="no layer"):
        layered.layer(network, l, np.zeros((1, 2)))
