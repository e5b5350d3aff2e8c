"""Curvature of the energy in the activities (2.3, 3) against twice differentiating it."""

from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pcbench.theory.linear.equilibrium import activity_hessian
from pcbench.theory.nonlinear import curvature
from pcbench.theory.nonlinear.activations import ACTIVATIONS
from pcbench.theory.nonlinear.layered import CONVENTIONS, Layered, activity_residuals
from tests.helpers.closeness import DIFFERENT, SAME, apart
from tests.helpers.linear_problems import problems, samples, seeds, widths

quick = settings(max_examples=20, deadline=None)

TORCH = {
    "identity": lambda z: z,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
    "silu": functional.silu,
}


def networks(activations=ACTIVATIONS, min_layers=2):
    """Arguments of ``draw``."""
    return st.tuples(
        st.sampled_from(activations),
        st.sampled_from(CONVENTIONS),
        st.booleans(),
        widths(min_layers=min_layers, max_layers=4, max_width=4),
        samples,
        seeds,
    )


def draw(activation, convention, bias, widths, samples, seed):
    """Draw a network, activities far from equilibrium, and precisions of which some are 0."""
    rng = np.random.default_rng(seed)
    network = Layered(
        [rng.standard_normal((out, inp)) / np.sqrt(inp) for inp, out in pairwise(widths)],
        [rng.standard_normal(out) for out in widths[1:]] if bias else None,
        activation,
        convention,
    )
    activities = [2 * rng.standard_normal((samples, width)) for width in widths]
    precision = rng.uniform(0.2, 3.0, activities[-1].shape) * rng.integers(0, 2, (samples, 1))
    return network, activities, precision


def torch_hessian(network, activities, precision, n):
    """Differentiate the energy of sample ``n`` twice in its hidden activities, side by side."""
    z = [torch.tensor(activity[n]) for activity in activities]
    φ, last = TORCH[network.activation], len(network.weights)

    def energy(hidden):
        parts = [z[0], *torch.split(hidden, [len(part) for part in z[1:-1]]), z[-1]]
        total = torch.zeros((), dtype=torch.float64)
        for l, weight in enumerate(network.weights, start=1):
            a = parts[l - 1]
            if network.convention == "pre" and l > 1:
                a = φ(a)
            a = torch.tensor(weight) @ a
            if network.biases is not None:
                a = a + torch.tensor(network.biases[l - 1])
            if network.convention == "post" and l < last:
                a = φ(a)
            pi = torch.tensor(precision[n]) if l == last else 1.0
            total = total + (pi * (parts[l] - a) ** 2).sum() / 2
        return total

    return torch.autograd.functional.hessian(energy, torch.cat(z[1:-1])).numpy()


def directions(activities, seed):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(z.shape) for z in activities[1:-1]]


@quick
@given(arguments=networks(), seed=seeds)
def test_product_is_that_of_the_twice_differentiated_energy(arguments, seed):
    network, activities, precision = draw(*arguments)
    v = directions(activities, seed)
    expected = [
        torch_hessian(network, activities, precision, n) @ np.concatenate([part[n] for part in v])
        for n in range(len(precision))
    ]
    ours = curvature.slopes_moved(network, activities, v, precision)[0]
    assert [part.shape for part in ours] == [part.shape for part in v]
    assert apart(np.concatenate(ours, axis=1), np.stack(expected)) < SAME


@quick
@given(arguments=networks(activations=["identity", "tanh", "silu"]), seed=seeds)
def test_product_is_the_central_difference_of_the_residuals(arguments, seed):
    network, activities, precision = draw(*arguments)
    v, step = directions(activities, seed), 1e-5

    def residuals(distance):
        hidden = [z + distance * part for z, part in zip(activities[1:-1], v, strict=True)]
        moved = [activities[0], *hidden, activities[-1]]
        return np.concatenate(activity_residuals(network, moved, precision), axis=1)

    expected = (residuals(step) - residuals(-step)) / (2 * step)
    ours = curvature.slopes_moved(network, activities, v, precision)[0]
    assert apart(np.concatenate(ours, axis=1), expected) < 1e-6


@quick
@given(arguments=networks())
def test_extreme_curvatures_are_those_of_the_dense_hessian(arguments):
    network, activities, precision = draw(*arguments)
    spectra = [
        np.linalg.eigvalsh(torch_hessian(network, activities, precision, n))
        for n in range(len(precision))
    ]
    least = curvature.least_curvatures(network, activities, precision)
    largest = curvature.largest_curvatures(network, activities, precision)
    assert apart(least, np.array([spectrum[0] for spectrum in spectra])) < SAME
    assert apart(largest, np.array([spectrum[-1] for spectrum in spectra])) < SAME


@quick
@given(problem=problems(min_layers=2, max_width=4), convention=st.sampled_from(CONVENTIONS))
def test_linear_networks_curve_as_in_closed_form_wherever_they_are(problem, convention):
    weights, x, y = problem.parts
    network = Layered(weights, None, "identity", convention)
    rng = np.random.default_rng(0)
    hidden = [rng.standard_normal((len(x), len(weight))) for weight in weights[:-1]]
    spectrum = np.linalg.eigvalsh(activity_hessian(weights))
    least = curvature.least_curvatures(network, [x, *hidden, y])
    largest = curvature.largest_curvatures(network, [x, *hidden, y])
    assert apart(least, np.full(len(x), spectrum[0])) < SAME
    assert apart(largest, np.full(len(x), spectrum[-1])) < SAME


def test_a_least_eigenvalue_that_rounding_hides_is_bounded_without_iteration():
    """Once minutes: iteration on the Hessian told eigenvalues apart that are all rounding."""
    # Where layers widen and narrow again, products lose their rank.
    sizes = [4, 2, 5, 24, 2, 11, 4, 29, 14, 10, 8, 1, 13, 26, 19, 3, 7, 5, 4, 22, 11, 8, 18, 19, 1]
    sizes += [3, 25, 2, 3, 3, 29, 22, 2, 6, 11, 1]
    rng = np.random.default_rng(0)
    weights = [15 * rng.standard_normal(shape) for shape in zip(sizes[1:], sizes, strict=False)]
    network = Layered(weights, None, "identity", "post")
    sample = [np.zeros((1, size)) for size in sizes]
    with pytest.raises(np.linalg.LinAlgError):
        curvature._least_of_blocks(*curvature.sample_hessian(network, sample), 0.0)
    with patch.object(curvature, "extreme_eigenvalue", wraps=curvature.extreme_eigenvalue) as asked:
        [least] = curvature.least_curvatures(network, sample)
    assert asked.call_count == 1
    assert -1e-6 < least <= 1  # of eigenvalues up to 1e5; the least is positive and below 1


@quick
@given(arguments=networks(), seed=seeds)
def test_targets_that_are_not_observed_leak_nowhere(arguments, seed):
    network, activities, _ = draw(*arguments)
    observed = np.random.default_rng(seed).random(activities[-1].shape) < 0.5
    blank = [*activities[:-1], np.where(observed, activities[-1], np.nan)]
    v = directions(activities, seed)
    for z, found in zip(
        curvature.slopes_moved(network, activities, v, observed)[0],
        curvature.slopes_moved(network, blank, v, observed)[0],
        strict=True,
    ):
        assert np.array_equal(z, found)
    for extremes in (curvature.least_curvatures, curvature.largest_curvatures):
        assert np.array_equal(
            extremes(network, blank, observed), extremes(network, activities, observed)
        )


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_extremes_found_by_iteration_bracket_the_spectrum_closely(activation, scale):
    network, activities, precision = draw(activation, "post", True, (5, 50, 60, 3), 2, 0)
    activities = [scale * z for z in activities]
    least = curvature.least_curvatures(network, activities, precision)
    largest = curvature.largest_curvatures(network, activities, precision)
    with patch.object(curvature, "_DENSE_UNITS", 1000):
        exact_least = curvature.least_curvatures(network, activities, precision)
        exact_largest = curvature.largest_curvatures(network, activities, precision)
    with patch.object(curvature, "_DENSE_UNITS", 0):
        found_least = curvature.least_curvatures(network, activities, precision)
        assert np.array_equal(
            found_least, curvature.least_curvatures(network, activities, precision)
        )
        found_largest = curvature.largest_curvatures(network, activities, precision)
    assert np.array_equal(least, exact_least)
    assert np.array_equal(largest, exact_largest)
    assert np.all(found_least <= exact_least)
    assert np.all(found_least >= exact_least - 0.03 * np.abs(exact_least))
    assert np.all(found_largest >= exact_largest)
    assert np.all(found_largest <= 1.03 * exact_largest)


def test_large_errors_make_the_curvature_negative_where_gauss_newton_never_is():
    network, activities, _ = draw("tanh", "post", False, (3, 4, 4, 2), 5, 0)
    activities[2] = 30 * activities[2]
    least = curvature.least_curvatures(network, activities)
    assert np.all(least < -DIFFERENT)


def test_samples_do_not_mix():
    network, activities, precision = draw("silu", "pre", True, (3, 4, 3, 2), 6, 0)
    together = curvature.least_curvatures(network, activities, precision)
    alone = [
        curvature.least_curvatures(network, [z[[n]] for z in activities], precision[[n]])[0]
        for n in range(6)
    ]
    assert apart(together, np.array(alone)) < SAME
    assert len(set(together.round(6))) == 6


def test_without_hidden_layers_there_is_no_curvature():
    network, activities, precision = draw("tanh", "post", True, (3, 2), 4, 0)
    assert curvature.slopes_moved(network, activities, [], precision)[0] == []
    assert curvature.least_curvatures(network, activities, precision).tolist() == [1.0] * 4
    assert curvature.largest_curvatures(network, activities, precision).tolist() == [1.0] * 4


@quick
@given(arguments=networks())
def test_blocks_of_a_sample_are_its_dense_hessian(arguments):
    network, activities, precision = draw(*arguments)
    for n, pi in enumerate(precision):
        sample = [z[n : n + 1] for z in activities]
        diagonal, below = curvature.sample_hessian(network, sample, pi[None])
        starts = np.cumsum([0, *map(len, diagonal)])
        dense = np.zeros((starts[-1], starts[-1]))
        for l, block in enumerate(diagonal):
            here = slice(starts[l], starts[l + 1])
            dense[here, here] = block
            if l < len(below):
                above = slice(starts[l + 1], starts[l + 2])
                dense[above, here], dense[here, above] = below[l], below[l].T
        assert apart(dense, torch_hessian(network, activities, precision, n)) < SAME


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_convolutions_curve_as_their_residuals_turn(activation, convention, pool):
    """Pooled ones too: a step this small leaves every maximum where it is."""
    rng, images = np.random.default_rng(0), [(2, 4, 4), (3, 4 // pool, 4 // pool)]
    places = (4 // pool // pool) ** 2
    shapes = [(3, 2, 3, 3), (2, 3, 3, 3), (4, 2 * places), (2, 4)]
    network = Layered(
        [rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) for shape in shapes],
        [rng.standard_normal(shape[0]) for shape in shapes],
        activation,
        convention,
        images,
        [pool, pool],
    )
    widths = (32, 3 * (4 // pool) ** 2, 2 * places, 4, 2)
    activities = [rng.standard_normal((3, width)) for width in widths]
    precision = rng.uniform(0.2, 3.0, (3, 2))
    v, step = directions(activities, 1), 1e-6

    def residuals(distance):
        hidden = [z + distance * part for z, part in zip(activities[1:-1], v, strict=True)]
        return activity_residuals(network, [activities[0], *hidden, activities[-1]], precision)

    expected = [
        (ahead - behind) / (2 * step)
        for ahead, behind in zip(residuals(step), residuals(-step), strict=True)
    ]
    ours = curvature.slopes_moved(network, activities, v, precision)[0]
    assert apart(ours, expected) < 1e-6
    quotient = sum((a * b).sum(axis=1) for a, b in zip(v, ours, strict=True))
    quotient /= sum((a**2).sum(axis=1) for a in v)
    assert np.all(curvature.least_curvatures(network, activities, precision) <= quotient)
    assert np.all(curvature.largest_curvatures(network, activities, precision) >= quotient)
