"""Symmetric matrices whose spectra are known, as operators."""

import numpy as np
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

seeds = st.integers(0, 2**32 - 1)


def rotated(eigenvalues, seed=0):
    """A matrix with these eigenvalues and random eigenvectors."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((len(eigenvalues),) * 2))
    matrix = (q * eigenvalues) @ q.T
    return (matrix + matrix.T) / 2


def operator(matrix, dtype="float64"):
    return aslinearoperator(np.asarray(matrix, dtype))


# Spectra like those of saddles: few different values, many times each, zeros among them.
spectra = st.lists(
    st.tuples(st.floats(-10, 10).map(lambda value: round(value, 1)), st.integers(1, 12)),
    min_size=1,
    max_size=5,
).map(lambda levels: np.sort(np.repeat(*map(np.array, zip(*levels, strict=True)))))
