"""Extreme eigenpairs, with error bars that hold."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

from pcbench.spectra import NotNumbersError, extreme_eigenpairs
from tests.spectra.matrices import operator, rotated, seeds, spectra

quick = settings(max_examples=30, deadline=None)


def rng(seed=0):
    return np.random.default_rng(seed)


@quick
@given(size=st.integers(2, 60), seed=seeds)
def test_both_ends_are_found_within_their_residuals(size, seed):
    eigenvalues = np.sort(rng(seed).standard_normal(size))
    found = extreme_eigenpairs(operator(rotated(eigenvalues, seed)), rng(seed))
    for pair, exact in ((found.least, eigenvalues[0]), (found.largest, eigenvalues[-1])):
        # A residual bounds the distance to an eigenvalue, if to a close neighbour of the last.
        assert np.abs(eigenvalues - pair.value).min() <= pair.residual + 1e-12
        assert abs(pair.value - exact) <= found.missed + pair.residual + 1e-12
        assert abs(np.linalg.norm(pair.vector) - 1) < 1e-12


@quick
@given(eigenvalues=spectra, seed=seeds, count=st.integers(1, 4))
def test_multiple_eigenvalues_have_different_eigenvectors(eigenvalues, seed, count):
    matrix = rotated(eigenvalues, seed)
    found = extreme_eigenpairs(operator(matrix), rng(seed), count=count)
    assert abs(found.least.value - eigenvalues[0]) < 1e-9
    assert abs(found.largest.value - eigenvalues[-1]) < 1e-9
    for end in (found.lowest, found.highest):
        assert 1 <= len(end) <= count
        vectors = np.stack([pair.vector for pair in end])
        assert np.abs(vectors @ vectors.T - np.eye(len(end))).max() < 1e-9
        for pair in end:
            off = np.linalg.norm(matrix @ pair.vector - pair.value * pair.vector)
            assert off <= pair.residual + 1e-12
            assert pair.residual <= 1e-4 * np.abs(eigenvalues).max() + 1e-12


@quick
@given(size=st.integers(20, 200), seed=seeds, steps=st.integers(4, 30))
def test_an_iteration_that_was_cut_short_says_what_it_may_have_missed(size, seed, steps):
    eigenvalues = np.sort(rng(seed).standard_normal(size))
    found = extreme_eigenpairs(
        operator(rotated(eigenvalues, seed)), rng(seed), relative=0.0, max_steps=steps
    )
    assert found.steps <= steps
    # A Rayleigh quotient is never outside; what is missed is bounded with near certainty.
    missed = found.missed + 1e-12
    assert eigenvalues[0] - 1e-12 <= found.least.value <= eigenvalues[0] + missed
    assert eigenvalues[-1] - missed <= found.largest.value <= eigenvalues[-1] + 1e-12


def test_an_end_that_is_zero_is_found_relative_to_the_other():
    eigenvalues = np.concatenate([-np.linspace(1, 2, 50), np.zeros(200)])
    found = extreme_eigenpairs(operator(rotated(eigenvalues)), rng())
    assert found.steps < 40
    assert abs(found.largest.value) < 1e-5
    assert abs(found.least.value + 2) < 1e-4


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_same_draw_gives_the_same_numbers(dtype):
    matrix = operator(rotated(np.linspace(-1, 2, 60)), dtype)
    first, second = (extreme_eigenpairs(matrix, rng()) for _ in range(2))
    assert first.least.value == second.least.value
    assert (first.least.vector == second.least.vector).all()


def test_a_start_that_hardly_sees_an_eigenvalue_does_not_claim_to():
    diagonal = np.ones(20_000)
    diagonal[0] = 1.0005
    found = extreme_eigenpairs(operator(np.zeros((1, 1))), rng())
    assert found.missed < 1e-6
    matrix = aslinearoperator(scipy.sparse.diags_array(diagonal.astype("float32")))
    found = extreme_eigenpairs(matrix, rng())
    assert found.largest.value + found.missed >= 1.0005


def test_products_that_are_no_numbers_are_an_error_with_a_name():
    with pytest.raises(NotNumbersError):
        extreme_eigenpairs(operator(np.full((3, 3), np.nan)), rng())
