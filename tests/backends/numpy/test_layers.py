"""The pieces of the reference backend, its values and gradients: against definitions."""

from itertools import product

import numpy as np
import pytest
from scipy.signal import correlate2d

from pcbench.backends.numpy.layers import AffineMap, phi, winners
from pcbench.backends.numpy.state import BlockTridiagonal, Clamped, full_curvature
from pcbench.networks import ACTIVATIONS, Convolution
from tests.backends.reference_problems import (
    ALL,
    DIFFERENCES,
    batch,
    central,
    energy_at,
    flat,
    modelled,
    moved,
    parametrised,
    posed,
    slopes_at,
)
from tests.helpers.closeness import SAME, apart


@pytest.mark.parametrize("name", ACTIVATIONS.names())
def test_slopes_and_curvatures_are_what_complex_steps_find(name):
    row, a = phi(name), np.array([-800.0, -30.0, -1.3, -0.2, 0.4, 2.0, 30.0, 800.0])
    moved = a + 1e-100j
    assert np.isfinite(row.value(a)).all()
    np.testing.assert_allclose(row.value(moved).imag / 1e-100, row.slope(a), rtol=1e-12, atol=1e-15)
    slope = np.asarray(row.slope(moved), complex)
    np.testing.assert_allclose(slope.imag / 1e-100, row.curvature(a), rtol=1e-12, atol=1e-12)


def test_a_rectifier_has_the_slope_of_its_left_side_at_its_kink():
    zero = np.zeros(1)
    assert (phi("relu").slope(zero), phi("leaky_relu").slope(zero)) == (0.0, 0.01)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_matrix_of_a_convolution_correlates_images_with_its_kernels(kernel):
    shape = Convolution((2, 3, 4), 3, kernel)
    rng = np.random.default_rng(0)
    weight, images = rng.standard_normal(shape.weight_shape), rng.standard_normal((2, 2, 3, 4))
    affine = AffineMap.of(shape, weight, np.array([1.0, 2.0, 3.0]))
    expected = [
        [
            bias + sum(map(lambda k, i: correlate2d(i, k, "same"), kernels, image))
            for kernels, bias in zip(weight, (1.0, 2.0, 3.0), strict=True)
        ]
        for image in images
    ]
    assert apart(affine(images.reshape(2, -1)), np.reshape(expected, (2, -1))) < SAME


def test_of_equal_entries_of_a_window_the_first_wins():
    shape = Convolution((1, 2, 4), 1, 1, 2)
    image = np.array([[1.0, 7.0, 0.0, 0.0, 7.0, 7.0, 0.0, 0.0]])
    assert winners(shape, image).tolist() == [[1, 2]]


def test_a_system_is_solved_as_a_dense_one_is():
    rng = np.random.default_rng(0)
    root = np.triu(np.tril(rng.standard_normal((9, 9)), 2), -2)  # blocks of 2, 3, 4 cover it
    dense = root @ root.T + np.eye(9)
    ends = [slice(0, 2), slice(2, 5), slice(5, 9)]
    dense[0:2, 5:9] = dense[5:9, 0:2] = 0.0
    blocks = BlockTridiagonal(
        [dense[rows, rows] for rows in ends], [dense[ends[0], ends[1]], dense[ends[1], ends[2]]]
    )
    np.testing.assert_array_equal(blocks.sparse().toarray(), dense)
    right = rng.standard_normal((3, 9))
    shift = 0.5 + max(0.0, -np.linalg.eigvalsh(dense)[0])
    for solved, matrix in (
        (blocks.lu()(right), dense),
        (blocks.cholesky(shift)(right), dense + shift * np.eye(9)),
    ):
        assert apart(solved, np.linalg.solve(matrix, right.T).T) < SAME


def test_what_cannot_be_factorised_has_no_numbers_for_a_solution():
    singular = BlockTridiagonal([np.zeros((2, 2))], [])
    for solve in (singular.lu(), singular.cholesky(), singular.cholesky(np.nan)):
        assert np.isnan(solve(np.ones((1, 2)))).all()


@parametrised(ALL)
def test_energies_are_sums_over_samples_and_units_one_by_one(network):
    problem = posed(network)
    model, layers = modelled(problem), problem.network.n_layers
    x, y, precision = batch(problem)
    energies = np.zeros(layers)
    for n, l in product(range(len(x)), range(1, layers + 1)):
        below, above = problem.activities[l - 1][n], problem.activities[l][n]
        for k, target in enumerate(above):
            weight = precision[n, k] if l == layers else 1.0
            if weight > 0:
                predicted = model.layers[l - 1].at(below[None]).value[0, k]
                energies[l - 1] += weight * (target - predicted) ** 2 / (2 * len(x))
    assert apart(model.energies(problem.activities, precision), energies) < SAME
    forward = x
    for layer in model.layers:
        forward = layer.at(forward).value
    np.testing.assert_array_equal(model.predict(x), forward)
    off = np.where(precision > 0, y - forward, 0.0)
    assert apart(model.loss(x, y, precision), np.sum(precision * off**2) / (2 * len(x))) < SAME


@parametrised(ALL)
def test_gradients_are_differences_of_loss_and_energy(network):
    problem = posed(network)
    model, (x, y, precision) = modelled(problem), batch(problem)
    at = np.zeros(flat(problem.parameters).size)

    losses = central(lambda vector: moved(problem, vector).loss(x, y, precision), at)
    assert apart(flat(model.loss_gradients(x, y, precision)), losses) < DIFFERENCES
    energies = central(
        lambda vector: moved(problem, vector).energies(problem.activities, precision).sum(), at
    )
    gradients = model.energy_gradients(problem.activities, precision)
    assert apart(flat(gradients), energies) < DIFFERENCES
    assert [g.shape for g in gradients] == [p.shape for p in problem.parameters]


@parametrised(ALL)
def test_slopes_and_curvature_are_differences_of_the_energy(network):
    problem = posed(network)
    state = Clamped.of(modelled(problem).layers, *batch(problem)).at(problem.activities[1:-1])
    if not state.hidden:
        assert state.slopes() == []
        return
    at = flat(state.hidden)
    assert apart(flat(state.slopes()), central(energy_at(problem), at)) < DIFFERENCES

    # Flat vectors go layer by layer, and the matrices of samples sample by sample.
    whole = central(slopes_at(problem), at)
    owner = flat([np.indices(z.shape)[0] for z in state.hidden])
    for n in range(len(problem.x)):
        mine = owner == n
        assert apart(full_curvature(state, n).sparse().toarray(), whole[np.ix_(mine, mine)]) < 1e-6
        assert not whole[np.ix_(mine, ~mine)].any()
