"""The Lanczos process: a basis, a tridiagonal matrix, and residuals that are true."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.spectra import Krylov
from tests.spectra.matrices import operator, rotated, seeds, spectra

quick = settings(max_examples=30, deadline=None)


def extended(matrix, steps, seed=0, dtype="float64"):
    start = np.random.default_rng(seed).standard_normal(len(matrix))
    krylov = Krylov(operator(matrix, dtype), start)
    while krylov.steps < steps and not krylov.exhausted:
        krylov.extend()
    return krylov


@quick
@given(size=st.integers(2, 40), seed=seeds, steps=st.integers(1, 40))
def test_the_basis_is_orthonormal_and_makes_the_matrix_tridiagonal(size, seed, steps):
    matrix = rotated(np.random.default_rng(seed).standard_normal(size), seed)
    krylov = extended(matrix, steps, seed)
    q = krylov.basis
    values, vectors = krylov.ritz()
    assert np.abs(q @ q.T - np.eye(krylov.steps)).max() < 1e-12
    assert np.abs(vectors.T @ (q @ matrix @ q.T) @ vectors - np.diag(values)).max() < 1e-11


@quick
@given(size=st.integers(3, 40), seed=seeds, steps=st.integers(2, 30))
def test_residuals_are_those_of_the_ritz_pairs(size, seed, steps):
    matrix = rotated(np.random.default_rng(seed).standard_normal(size), seed)
    krylov = extended(matrix, steps, seed)
    values, vectors = krylov.ritz()
    lifted = krylov.lift(vectors)
    true = np.linalg.norm(matrix @ lifted - values * lifted, axis=0)
    assert np.abs(true - krylov.residuals(vectors)).max() < 1e-11
    exact = np.linalg.eigvalsh(matrix)
    for value, residual in zip(values, true, strict=True):
        assert np.abs(exact - value).min() <= residual + 1e-12


@quick
@given(eigenvalues=spectra, seed=seeds)
def test_a_space_is_exhausted_when_every_different_eigenvalue_has_been_seen(eigenvalues, seed):
    krylov = extended(rotated(eigenvalues, seed), len(eigenvalues), seed)
    values, different = krylov.ritz()[0], np.unique(eigenvalues)
    assert krylov.exhausted
    # Rounding may let a second vector of an eigenspace in, but nothing that is no eigenvalue.
    assert len(different) <= len(values) <= len(eigenvalues)
    assert np.abs(values[:, None] - different).min(axis=0).max() < 1e-9
    assert np.abs(values[:, None] - different).min(axis=1).max() < 1e-9


def test_single_precision_keeps_the_basis_orthonormal_to_its_own_rounding():
    matrix = rotated(np.linspace(-1, 1, 300) ** 3)
    q = extended(matrix, 120, dtype="float32").basis
    assert q.dtype == np.float32
    assert np.abs(q @ q.T - np.eye(120)).max() < 300 * np.finfo("float32").eps


def test_without_reorthogonalisation_ghosts_appear():
    eigenvalues = np.concatenate([np.linspace(0, 1, 300), [10.0, 20.0]])
    matrix = rotated(eigenvalues)

    def sloppy(self, image):
        return image, float(np.linalg.norm(image))

    with patch.object(Krylov, "_orthogonal", sloppy):
        ghostly = extended(matrix, 80).ritz()[0]
    assert np.sum(ghostly > 19) > 1
    assert np.sum(extended(matrix, 80).ritz()[0] > 19) == 1


@pytest.mark.parametrize("size", [1, 5])
def test_the_zero_operator_is_exhausted_at_once(size):
    krylov = extended(np.zeros((size, size)), 3)
    assert (krylov.steps, krylov.exhausted) == (1, True)
    assert krylov.ritz()[0].tolist() == [0.0]
