"""Checks and series of the extreme eigenvalues of a Hessian, at a saddle or anywhere."""

from __future__ import annotations

import numpy as np

from pcbench import checks
from pcbench.case import Columns
from pcbench.checks import Check, Tolerance
from pcbench.contract import Objective
from pcbench.judges.reported import CONTRACT, none_of
from pcbench.spectra import Extremes


def numbers_missing(objective: Objective, missing: int, size: int) -> Check:
    """Check that no entry of a product is missing or not finite, of so many."""
    name = f"Hessian products of the {objective}: missing numbers"
    return none_of(name, missing, size, "numbers", source=CONTRACT)


def ghosts(name: str, found: Extremes) -> Check:
    """Check that the eigenvectors at each end are different ones.

    An eigenvector that a converged one comes back as, a ghost, is parallel to it; those of
    different eigenvalues are orthogonal, to ``(r_i + r_j)/|θ_i - θ_j|`` where residuals are ``r``.
    Between the two lies 1/2.
    """
    worst = 0.0
    for end in (found.lowest, found.highest):
        vectors = np.stack([pair.vector for pair in end])
        overlaps = np.abs(vectors @ vectors.T) - np.eye(len(vectors))
        worst = max(worst, float(np.max(overlaps)))
    return checks.at_most(
        name,
        worst,
        0.0,
        Tolerance(0.5, "parallel vectors have 1, orthogonal ones 0"),
        source="eigenvectors of a symmetric operator are orthogonal",
    )


def extremes_series(objective: Objective, found: Extremes) -> Columns:
    """Eigenvalues from the outside in, with error bars, and what may have been missed."""
    rows = len(found.lowest)
    return Columns(
        f"extreme eigenvalues of the {objective}",
        {
            "least": [pair.value for pair in found.lowest],
            "residual of the least": [pair.residual for pair in found.lowest],
            "largest": [pair.value for pair in found.highest],
            "residual of the largest": [pair.residual for pair in found.highest],
            "missed at most": [found.missed] * rows,
            "products": [float(found.steps)] * rows,
        },
    )
