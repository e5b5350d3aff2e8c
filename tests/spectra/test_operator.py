"""Hessians of a backend as SciPy operators."""

import numpy as np
import pytest
import scipy.sparse.linalg

from pcbench.backends.torch import TorchBackend
from pcbench.networks import NetworkSpec
from pcbench.spectra import HessianOperator, dense
from tests.spectra.matrices import operator, rotated


@pytest.fixture(params=["float64", "float32"])
def hessian(request):
    backend, network = TorchBackend("cpu", request.param), NetworkSpec((3, 4, 2), "tanh")
    rng = np.random.default_rng(0)
    model = backend.build(network, [rng.standard_normal(shape) for shape in network.shapes])
    x, y = (backend.to_device(rng.standard_normal((5, width))) for width in (3, 2))
    return HessianOperator(backend, model.loss_hessian(x, y), network.n_parameters)


def test_vectors_and_matrices_multiply_alike(hessian):
    vectors = np.random.default_rng(1).standard_normal((20, 3))
    together = hessian @ vectors
    assert together.shape == (20, 3)
    for column, image in zip(vectors.T, together.T, strict=True):
        assert np.allclose(hessian @ column, image, rtol=1e-5, atol=1e-6)
        assert np.allclose(hessian.T @ column, image, rtol=1e-5, atol=1e-6)
    assert hessian.products == 9


def test_scipy_finds_eigenvalues_with_it(hessian):
    matrix = dense(hessian)
    assert np.allclose(matrix, matrix.T, atol=1e-5)
    (least,) = scipy.sparse.linalg.eigsh(hessian, k=1, which="SA", return_eigenvectors=False)
    assert abs(least - np.linalg.eigvalsh(matrix)[0]) < 1e-5


def test_a_whole_matrix_is_made_in_blocks_that_are_told_of():
    matrix, told = rotated(np.linspace(0, 1, 600)), []

    def progress(starts, total):
        for start in starts:
            told.append((start, total))
            yield start

    assert np.allclose(dense(operator(matrix), progress), matrix, atol=1e-14)
    assert told == [(0, 3), (256, 3), (512, 3)]
