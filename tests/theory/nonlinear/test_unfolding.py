"""Convolutions as matrix products are the convolutions of the definition (1)."""

import numpy as np
import pytest

from pcbench.theory.nonlinear import unfolding
from pcbench.theory.nonlinear.layered import Layered, affine, affine_transposed, parameter_gradient


@pytest.fixture(params=[1, 3, 5])
def convolved(request):
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((3, 2, request.param, request.param)), rng.random((4, 60))]
    network = Layered(weights, None, "identity", "post", [(2, 4, 5)], [1])
    return network, rng.standard_normal((6, 40)), rng.standard_normal((6, 60))


def test_potentials_are_rows_times_columns(convolved):
    network, z, _ = convolved
    product = unfolding.seen_rows(network, 1, z) @ unfolding.seen_columns(network, 1)
    np.testing.assert_allclose(unfolding.by_sample(network, 1, product), affine(network, 1, z))


def test_pulls_are_rows_times_columns(convolved):
    network, _, force = convolved
    product = unfolding.force_rows(network, 1, force) @ unfolding.force_columns(network, 1)
    expected = affine_transposed(network, 1, force)
    np.testing.assert_allclose(unfolding.by_sample(network, 1, product), expected, atol=1e-12)


def test_gradients_are_columns_of_places_times_rows(convolved):
    network, z, force = convolved
    places = unfolding.by_place(network, 1, force)
    gradient = places.T @ unfolding.seen_rows(network, 1, z)
    expected, _ = parameter_gradient(network, 1, z, force)
    np.testing.assert_allclose(gradient.reshape(expected.shape), expected, atol=1e-12)


def test_a_dense_layer_is_left_as_it_is(convolved):
    network, _, below = convolved
    weight, force = network.weights[1], np.ones((6, 4))
    assert unfolding.seen_rows(network, 2, below) is below
    assert unfolding.by_place(network, 2, force) is force
    np.testing.assert_array_equal(unfolding.seen_columns(network, 2), weight.T)
    np.testing.assert_array_equal(unfolding.force_columns(network, 2), weight)


def test_no_map_is_larger_than_its_bound(convolved):
    network, *_ = convolved
    matrix = affine(network, 1, np.eye(40))
    assert np.linalg.norm(matrix, 2) <= unfolding.map_norm_bound(network, 1)
