"""Extreme eigenvalues by iteration, where SciPy's own search is blind to a null space."""

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh

from pcbench.theory.arrays import extreme_eigenvalue

SIZE = 400
BASIS = 60


def symmetric(eigenvalues, seed=0):
    """A dense symmetric matrix with these eigenvalues."""
    rng = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))
    return (vectors * eigenvalues) @ vectors.T


def found(matrix, which, accuracy=1e-2):
    return extreme_eigenvalue(
        lambda v: matrix @ v, len(matrix), which, accuracy=accuracy, basis=BASIS
    )


def with_null_space(sign, dimensions=10):
    """A diagonal, so that its null space is exact, with the others from 1 to 10."""
    return sign * np.diag(np.r_[np.zeros(dimensions), np.linspace(1, 10, SIZE - dimensions)])


@pytest.mark.parametrize(("sign", "which"), [(1, "SA"), (-1, "LA")])
@pytest.mark.parametrize("accuracy", [0.0, 1e-8, 1e-2])
def test_an_exact_null_space_is_seen_where_zero_is_the_extreme(sign, which, accuracy):
    assert abs(found(with_null_space(sign), which, accuracy)) <= max(accuracy, 1e-12)


@pytest.mark.parametrize(("sign", "which"), [(1, "SA"), (-1, "LA")])
def test_scipys_own_search_does_not_see_it(sign, which):
    start = np.random.default_rng(0).standard_normal(SIZE)
    matrix = with_null_space(sign)
    [missed] = eigsh(
        matrix, k=1, which=which, v0=start, ncv=BASIS, tol=1e-2, return_eigenvectors=False
    )
    assert abs(missed) > 0.9


@pytest.mark.parametrize("which", ["SA", "LA"])
def test_an_operator_that_is_zero_has_the_eigenvalue_zero(which):
    assert found(np.zeros((SIZE, SIZE)), which) == 0.0


@pytest.mark.parametrize("which", ["SA", "LA"])
@pytest.mark.parametrize(
    "eigenvalues",
    [
        np.linspace(0.02, 10, SIZE),
        np.linspace(-3, -0.02, SIZE),
        np.linspace(-1, 5, SIZE),
        np.r_[1e-3, np.linspace(1, 10, SIZE - 1)],
        np.r_[np.zeros(SIZE - 1), 3.0],
    ],
    ids=["positive", "negative", "both signs", "one small", "rank one"],
)
def test_extremes_are_those_of_the_dense_matrix(eigenvalues, which):
    due = eigenvalues.min() if which == "SA" else eigenvalues.max()
    off = abs(found(symmetric(eigenvalues), which) - due)
    assert off <= 1e-2 * abs(due) + 1e-12


def test_the_same_operator_has_the_same_extreme_again():
    matrix = with_null_space(1)
    assert found(matrix, "SA") == found(matrix, "SA")
