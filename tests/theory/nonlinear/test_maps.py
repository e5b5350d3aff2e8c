"""Convolutions as matrix products are the convolutions of the definition (1)."""

import numpy as np
import pytest

from pcbench.theory.nonlinear.layered import Layered, potential
from pcbench.theory.rounding.units import map_norm_bound
from tests.theory.nonlinear import convolution


@pytest.fixture(params=[1, 3, 5])
def convolved(request):
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((3, 2, request.param, request.param)), rng.random((4, 60))]
    network = Layered(weights, None, "identity", "post", [(2, 4, 5)], [1])
    return network, rng.standard_normal((6, 40)), rng.standard_normal((6, 60))


def as_images(units, channels):
    return units.reshape(len(units), channels, 4, 5)


def test_a_map_is_the_convolution_of_the_definition(convolved):
    network, z, _ = convolved
    expected = convolution.convolve(network.weights[0], as_images(z, 2)).reshape(6, -1)
    np.testing.assert_allclose(network.linear(1).apply(z), expected, atol=1e-12)


def test_forces_return_to_what_they_come_from(convolved):
    network, _, force = convolved
    expected = convolution.convolve_transposed(network.weights[0], as_images(force, 3))
    np.testing.assert_allclose(
        network.linear(1).pull_back(force), expected.reshape(6, -1), atol=1e-12
    )


def test_gradients_are_those_of_kernels(convolved):
    network, z, force = convolved
    kernel = network.weights[0].shape[-1]
    expected = convolution.kernel_gradient(as_images(z, 2), as_images(force, 3), kernel)
    np.testing.assert_allclose(network.linear(1).gradient(z, force), expected, atol=1e-12)


def test_places_and_samples_undo_each_other(convolved):
    network, _, force = convolved
    layer = network.linear(1)
    np.testing.assert_array_equal(layer.by_sample(layer.by_place(force)), force)


def test_a_dense_layer_is_left_as_it_is(convolved):
    network, _, below = convolved
    weight, force = network.weights[1], np.ones((6, 4))
    layer = network.linear(2)
    assert layer.rows(below) is below
    assert layer.by_place(force) is force
    np.testing.assert_array_equal(layer.columns, weight.T)
    np.testing.assert_array_equal(layer.force_columns, weight)


def test_no_map_is_larger_than_its_bound(convolved):
    network, *_ = convolved
    matrix = potential(network, 1, np.eye(40))
    assert np.linalg.norm(matrix, 2) <= map_norm_bound(network, 1)
