"""Directions of a slice: of the extreme curvatures of an objective, or random ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pcbench.checks import Check
from pcbench.contract import DType, Objective
from pcbench.judges.basis import Basis
from pcbench.judges.points import Point, Points
from pcbench.judges.problem import rounded

# The Hessian is asked for row by row, and its eigenvectors cost the cube of this: some seconds.
MAX_PARAMETERS = 2_000

SPECTRAL = Basis(
    "an eigenvector is multiplied by its eigenvalue",
    "rounding of the Hessian, twice, and of multiple eigenvalues",
)

Product = Callable[[Points], Float[np.ndarray, "..."]]


def random_directions(parameters: int, rng: np.random.Generator, dtype: DType) -> Points:
    """Two orthonormal directions, uniform on the sphere, up to rounding to the dtype."""
    [first, second] = rng.standard_normal((2, parameters))
    return _staged([first, _across(second, [first])], dtype)


@dataclass(frozen=True, slots=True)
class ExtremeDirections:
    """Eigenvectors of the least and the largest eigenvalue of a symmetric matrix.

    Attributes
    ----------
    objective
        Whose Hessian it is.
    vectors
        One a row, numbers that fit the dtype.
    eigenvalues
        The two.
    norm
        ``‖∇²‖₂``, the larger of their magnitudes.
    """

    objective: Objective
    vectors: Points
    eigenvalues: tuple[float, float]
    norm: float

    @classmethod
    def of(
        cls,
        objective: Objective,
        hessian: Float[np.ndarray, "P P"],
        rounding: float,
        rng: np.random.Generator,
        dtype: DType,
    ) -> ExtremeDirections:
        """Choose a random vector among all that belong to an extreme eigenvalue.

        At saddles eigenvalues are multiple. Which basis a library returns then is an accident, of
        the machine as well; eigenvalues that rounding cannot tell from the extreme one are taken
        as one, and the same random vector, projected, stands for them on every machine.
        """
        eigenvalues, basis = np.linalg.eigh((hessian + hessian.T) / 2)
        least, largest = float(eigenvalues[0]), float(eigenvalues[-1])
        chosen: list[Point] = []
        for extreme in (least, largest):
            together = np.abs(eigenvalues - extreme) <= 2 * rounding
            if largest - least <= 4 * rounding:
                together[:] = True
            space = basis[:, together]
            draw = rng.standard_normal(len(hessian))
            chosen.append(_across(space @ (space.T @ draw), chosen))
        vectors = _staged(chosen, dtype)
        return cls(objective, vectors, (least, largest), max(abs(least), abs(largest)))

    def checks(self, product: Product, rounding: float, u: float) -> Iterator[Check]:
        """Check ``‖∇² v - θ v‖`` for both, where the product is of ``v`` alone.

        ``rounding`` bounds what rounding makes of the Hessian, in the operator norm; ``u`` is the
        dtype's unit roundoff.
        """
        # Rows, and the product; eigenvalues that were taken as one; LAPACK; and v in the dtype.
        off = 6 * rounding + (self.vectors.shape[1] * 2.0**-52 + 4 * u) * self.norm
        for which, value, vector in zip(
            ("least", "largest"), self.eigenvalues, self.vectors, strict=True
        ):
            name = f"eigenvector of the {which} curvature of the {self.objective}"
            yield SPECTRAL.distance(name, product(vector[None]), value * vector[None], off)


def _across(vector: Point, others: list[Point]) -> Point:
    """Return what is orthogonal to the others."""
    for other in others:
        vector = vector - other * (other @ vector) / (other @ other)
    return vector


def _staged(vectors: list[Point], dtype: DType) -> Points:
    """Make vectors unit vectors whose numbers the dtype has."""
    return np.stack(rounded([vector / np.linalg.norm(vector) for vector in vectors], dtype))
