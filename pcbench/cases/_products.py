"""Hessian products of a backend, in any network, against the theory's at the same activities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from pcbench import checks, theory
from pcbench.backends import DType, Objective
from pcbench.cases._problem import Problem
from pcbench.cases._relaxed_judge import judged
from pcbench.checks import Check, Tolerance
from pcbench.spectra import Extremes, HessianOperator

IMPLICIT = "the Hessian of an equilibrated energy (theory.md 3.1)"
BACKPROPAGATION = "the Hessian of the loss: backpropagation, differentiated"
SOURCES: dict[Objective, str] = {"loss": BACKPROPAGATION, "energy": IMPLICIT}


class ProductJudge:
    """Multiplies by the theory's Hessian of one objective, and says how far others may be off.

    Parameters
    ----------
    problem
        The point in weight space, and the batch.
    objective
        Of which the Hessian is.
    activities
        ``z_0 … z_L`` at equilibrium, as the backend found them; the loss looks at the first alone.
    dtype
        The backend's.

    Raises
    ------
    ValueError
        If the activities are no minimum of the energy.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        activities: Sequence[Float[np.ndarray, "N _d"]],
        dtype: DType,
    ) -> None:
        self._problem, self.objective, self._activities = problem, objective, list(activities)
        self._network, u = judged(problem), theory.unit_roundoff(dtype)
        self.derivation = f"rounding at u = {u:.2g} in this network (theory.md 4)"
        if objective == "loss":
            self.rounding = theory.loss_hessian_rounding(self._network, problem.x, problem.y, u)
        else:
            self.rounding = theory.energy_hessian_rounding(self._network, activities, u)

    def product(self, vector: Float[np.ndarray, " P"]) -> tuple[Float[np.ndarray, " P"], float]:
        """Return ``H v``, and the relative residual of the system behind it."""
        parts, sizes = [], [parameter.size for parameter in self._problem.parameters]
        for part, like in zip(
            np.split(vector, np.cumsum(sizes)[:-1]), self._problem.parameters, strict=True
        ):
            parts.append(part.reshape(like.shape))
        if self.objective == "loss":
            found = theory.loss_hessian_product(
                self._network, self._problem.x, self._problem.y, parts
            )
        else:
            found = theory.energy_hessian_product(self._network, self._activities, parts)
        return np.concatenate([part.ravel() for part in found.product]), found.residual

    def tolerance(self, residual: float = 0.0) -> Tolerance:
        """Return how far a product with a vector of unit length may be off."""
        return Tolerance(self.rounding.product + self.rounding.unsolved * residual, self.derivation)

    def findings(
        self, operator: HessianOperator, vectors: Float[np.ndarray, "K P"]
    ) -> Iterator[Check]:
        """Compare products with unit vectors, two by two for symmetry, and the systems solved."""
        seen = np.asarray(operator.matmat(vectors.T), np.float64).T
        if seen.shape != vectors.shape:
            yield checks.all_close(
                f"Hessian products of the {self.objective}",
                seen,
                np.zeros_like(vectors),
                self.tolerance(),
                source=SOURCES[self.objective],
            )
            return
        worst = checks.Worst()
        solved = Tolerance(self.rounding.system, self.derivation)
        if self.objective == "energy":
            worst.add(
                checks.at_most(
                    "inner systems solved",
                    operator.hessian.residual,
                    0.0,
                    solved,
                    source=IMPLICIT,
                )
            )
        for index, (vector, image) in enumerate(zip(vectors, seen, strict=True), start=1):
            wanted, residual = self.product(vector)
            allowed = self.tolerance(residual + self.rounding.system)
            worst.add(
                checks.distance(
                    f"Hessian products of the {self.objective}",
                    image,
                    wanted,
                    allowed,
                    source=SOURCES[self.objective],
                    where=f"direction {index}",
                )
            )
        form = vectors @ seen.T
        worst.add(
            checks.all_close(
                f"symmetric Hessian of the {self.objective}",
                form,
                form.T,
                self.tolerance(2 * self.rounding.system),
                source="a Hessian is symmetric",
            )
        )
        yield from worst

    def eigenpairs(self, found: Extremes) -> Iterator[Check]:
        """Check that what is said to be eigenpairs, and how well, is so, and that none is twice."""
        worst, pairs = checks.Worst(), [*found.lowest, *found.highest]
        for index, pair in enumerate(pairs, start=1):
            image, residual = self.product(pair.vector)
            worst.add(
                checks.at_most(
                    f"extreme eigenpairs of the {self.objective}",
                    float(np.linalg.norm(image - pair.value * pair.vector)),
                    pair.residual,
                    self.tolerance(residual + self.rounding.system),
                    source=SOURCES[self.objective],
                    where=f"pair {index}",
                )
            )
        yield from worst
        yield ghosts(f"different eigenvectors of the {self.objective}", found)


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
