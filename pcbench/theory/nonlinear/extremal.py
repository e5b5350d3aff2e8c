"""An extreme eigenvalue of a symmetric operator, its exact null space included.

SciPy's ``eigsh`` (ARPACK) multiplies the vector that it starts from by the operator first. What
lies in an exact null space is gone after that, so that an extreme eigenvalue of 0 is never found;
and an operator that is zero leaves no vector to start from, which is an error there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh

Vector = Float[np.ndarray, " n"]


def extreme_eigenvalue(
    product: Callable[[Vector], Vector],
    size: int,
    which: Literal["SA", "LA"],
    *,
    accuracy: float = 0.0,
    basis: int | None = None,
    start: Vector | None = None,
) -> float:
    """Return the least (``SA``) or the largest (``LA``) eigenvalue.

    Where all that was found lies on one side of 0, and 0 would be more extreme, the search is
    repeated with the operator shifted by what was found, ``θ``: a null space then has the
    eigenvalue ``θ``, and what was found ``2θ``. What is no more than rounding is returned as 0.

    Parameters
    ----------
    product
        Multiplies a vector of ``size`` entries by the operator.
    size
        ``n``, at least 2.
    which
        Which end of the spectrum.
    accuracy
        Relative to the eigenvalue; 0 for that of float64.
    basis
        How many vectors are kept between restarts; SciPy's own number if not given.
    start
        Where the iteration starts, not orthogonal to what is sought; if not given, a random vector,
        always the same: it keeps the number, and so every tolerance made from it, reproducible.
    """
    if start is None:
        start = np.random.default_rng(0).standard_normal(size)
    image = product(start)
    if not image.any():
        return 0.0
    rounding = np.finfo(float).eps * size * float(np.linalg.norm(image) / np.linalg.norm(start))

    def search(shift: float, accuracy: float) -> float:
        def shifted(vector: Vector) -> Vector:
            flat = vector.ravel()
            return product(flat) + shift * flat if shift else product(flat)

        found = eigsh(
            LinearOperator((size, size), matvec=shifted, dtype=np.float64),
            k=1,
            which=which,
            v0=start,
            ncv=None if basis is None else min(size, basis),
            tol=accuracy,
            return_eigenvectors=False,
        )
        return float(found[0]) - shift

    found = search(0.0, accuracy)
    # What is found is off by the accuracy times its distance from -shift, at most twice itself.
    while found > 0 if which == "SA" else found < 0:
        again = search(found, accuracy / 2)
        if abs(again) > abs(found) / 2:
            break
        found = again if abs(again) > rounding else 0.0
    return found
