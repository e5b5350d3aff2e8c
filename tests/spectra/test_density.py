"""Stochastic Lanczos quadrature: its band holds the distribution, and is no wider than it must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.spectra import spectral_density
from tests.spectra.matrices import operator, rotated, seeds, spectra

quick = settings(max_examples=25, deadline=None)


def share_at_or_below(eigenvalues, at, off=0.0):
    return np.searchsorted(eigenvalues, at + off, side="right") / len(eigenvalues)


def holds(density, eigenvalues):
    below = share_at_or_below(eigenvalues, density.at, density.rounding)
    above = share_at_or_below(eigenvalues, density.at, -density.rounding)
    return (density.lower <= below).all() and (above <= density.upper).all()


@quick
@given(size=st.integers(2, 120), seed=seeds, steps=st.integers(1, 30), probes=st.integers(1, 6))
def test_the_band_holds_the_distribution(size, seed, steps, probes):
    rng = np.random.default_rng(seed)
    eigenvalues = np.sort(rng.standard_normal(size) ** 3)
    density = spectral_density(
        operator(rotated(eigenvalues, seed)), rng, probes=probes, steps=steps
    )
    assert holds(density, eigenvalues)
    assert density.weights.sum() == pytest.approx(1)


@quick
@given(eigenvalues=spectra, seed=seeds)
def test_the_band_holds_where_eigenvalues_are_multiple(eigenvalues, seed):
    matrix = operator(rotated(eigenvalues, seed))
    assert holds(spectral_density(matrix, np.random.default_rng(seed)), eigenvalues)


def test_the_band_narrows_with_size_and_probes():
    def width(size, probes):
        matrix = operator(np.diag(np.repeat([0.0, 1.0], size)))
        density = spectral_density(matrix, np.random.default_rng(0), probes=probes)
        return float(np.max((density.upper - density.lower)[1:-1]))

    assert width(200, 8) > 1.8 * width(200, 32) > 1.8 * width(800, 32)


def test_another_distribution_is_told():
    density = spectral_density(
        operator(np.diag(np.linspace(0, 1, 800))), np.random.default_rng(0), probes=16
    )
    assert holds(density, np.linspace(0, 1, 800))
    assert not holds(density, np.sort(np.linspace(0, 1, 800) ** 2))
