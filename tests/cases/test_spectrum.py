"""Eigenvalues by blocks and by hubs are those of a dense eigensolver."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcbench.judges import hessian as _hessian
from pcbench.judges.hessian import block_eigenvalues


def symmetric(rng, size):
    matrix = rng.standard_normal((size, size))
    return matrix + matrix.T


def hubs_and_others(rng, hubs, others, scale=1.0):
    """A matrix in which ``others`` meet one another only through ``hubs``, in random order."""
    size = hubs + others
    matrix = np.zeros((size, size))
    matrix[:hubs, :hubs] = symmetric(rng, hubs)
    matrix[hubs:, :hubs] = scale * rng.standard_normal((others, hubs))
    matrix[:hubs, hubs:] = matrix[hubs:, :hubs].T
    order = rng.permutation(size)
    return matrix[np.ix_(order, order)]


def assert_same_spectrum(matrix):
    found = block_eigenvalues(matrix)
    dense = np.linalg.eigvalsh(matrix)
    allowed = 1e-13 * max(1.0, np.abs(dense).max()) * len(matrix)
    np.testing.assert_allclose(found, dense, rtol=0, atol=allowed)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_blocks_in_any_order(seed, sizes):
    rng = np.random.default_rng(seed)
    size = sum(sizes)
    matrix, start = np.zeros((size, size)), 0
    for block in sizes:
        matrix[start : start + block, start : start + block] = symmetric(rng, block)
        start += block
    order = rng.permutation(size)
    assert_same_spectrum(matrix[np.ix_(order, order)])


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 60))
def test_a_few_hubs_and_many_others(seed, hubs, others):
    assert_same_spectrum(hubs_and_others(np.random.default_rng(seed), hubs, others))


def test_the_dense_solver_never_sees_the_others(monkeypatch):
    sizes = []

    def eigvalsh(matrix):
        sizes.append(len(matrix))
        return dense(matrix)

    dense = np.linalg.eigvalsh
    monkeypatch.setattr(_hessian.np.linalg, "eigvalsh", eigvalsh)
    block_eigenvalues(hubs_and_others(np.random.default_rng(0), 3, 200))
    assert sizes == [6]


def test_an_entry_among_the_others_is_not_overlooked():
    matrix = hubs_and_others(np.random.default_rng(0), 3, 200)
    others = np.flatnonzero(np.count_nonzero(matrix, axis=1) <= 3)[:2]
    matrix[others[0], others[1]] = matrix[others[1], others[0]] = 5.0
    assert_same_spectrum(matrix)


@pytest.mark.parametrize("size", [1, 7])
def test_no_entries_at_all(size):
    np.testing.assert_array_equal(block_eigenvalues(np.zeros((size, size))), np.zeros(size))
