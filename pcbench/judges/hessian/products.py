"""Hessian products of a backend, in any network, against the theory's at the same activities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.checks import Check, Tolerance
from pcbench.contract import DType, Objective
from pcbench.judges.basis import folded
from pcbench.judges.hessian.extremes import ghosts
from pcbench.judges.points import joined, split
from pcbench.judges.problem import Problem
from pcbench.spectra import Extremes, HessianOperator
from pcbench.theory.nonlinear.layered import Layered, feedforward, weigh, weighted_errors
from pcbench.theory.nonlinear.second_order import energy_hessian_product, loss_hessian_product
from pcbench.theory.rounding.bounds import (
    CONFIDENCE,
    InnerSystem,
    inner_system,
    product_floor,
    unit_roundoff,
)
from pcbench.theory.rounding.stochastic import with_rounding

SOURCES: dict[Objective, str] = {
    "loss": "the Hessian of the loss: backpropagation, differentiated",
    "energy": "the Hessian of an equilibrated energy (theory.md 3.1)",
}

# A residual of 1 is no solution at all: of much less, rounding must not be the excuse.
UNSOLVABLE = 0.02

Vector = Float[np.ndarray, " P"]


@dataclass(frozen=True, slots=True)
class JudgedProduct:
    """``H v`` as the theory has it, and how far rounding may carry another."""

    image: Vector
    rounding: float


class ProductJudge:
    """Multiplies by the theory's Hessian of one objective, and says how far others may be off.

    Parameters
    ----------
    problem
        The point in weight space, and the batch.
    objective
        Of which the Hessian is.
    activities
        ``z_0 … z_L`` at equilibrium, as the backend found them; the loss looks at the ends alone.
    dtype
        The backend's.

    Raises
    ------
    ValueError
        If the activities are no minimum of the energy, or the dtype cannot tell a solution there.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        activities: Sequence[Float[np.ndarray, "N _d"]],
        dtype: DType,
    ) -> None:
        self.objective, self.source = objective, SOURCES[objective]
        self._problem, self._network, self._activities = problem, problem.layered, list(activities)
        self._u = unit_roundoff(dtype)
        self.derivation = f"rounding at u = {self._u:.2g} in this network (theory.md 4)"
        self._counts = problem.precision
        forces = weighted_errors(self._network, activities, self._counts)
        if objective == "loss":
            self._system = InnerSystem(self._u, 0.0)
            left = problem.y - feedforward(self._network, problem.x)[-1]
            forces = [weigh(left, self._counts)[1]]
        else:
            self._system = inner_system(self._network, activities, self._u, self._counts)
            if self._system.rounding > UNSOLVABLE:
                raise ValueError(
                    f"rounding in {dtype} leaves up to {self._system.rounding:.2g} of the inner "
                    "systems unsolved at this equilibrium; use dtype: float64, or smaller weights"
                )
        self._floor = product_floor(self._network, activities, forces, self._u)

    def product(self, vector: Vector) -> JudgedProduct:
        """Return ``H v`` of a unit vector."""
        direction = split(self._problem.network, vector)
        image, residual = self._multiply(self._network, self._activities, direction)
        # A fixed stream: what is allowed must not depend on what was asked before.
        errors = np.random.default_rng(0)
        moved, _ = self._multiply(
            *with_rounding(self._network, self._activities, direction, self._u, errors)
        )
        off = CONFIDENCE * float(np.linalg.norm(moved - image))
        return JudgedProduct(image, off + self._floor + self._system.weight * residual)

    def _multiply(
        self,
        network: Layered,
        activities: Sequence[Float[np.ndarray, "N _d"]],
        direction: Sequence[Float[np.ndarray, "..."]],
    ) -> tuple[Vector, float]:
        if self.objective == "loss":
            found = loss_hessian_product(
                network, activities[0], activities[-1], direction, self._counts
            )
        else:
            found = energy_hessian_product(network, activities, direction, self._counts)
        return joined(found.product), found.residual

    def tolerance(self, rounding: float, residual: float) -> Tolerance:
        """Return what rounding and the residual of the backend's inner systems may make.

        No more of the latter than :meth:`solved` lets pass: no backend sets its own tolerance.
        """
        left = residual if residual <= self._system.rounding else self._system.rounding
        return Tolerance(rounding + self._system.weight * left, self.derivation)

    def findings(
        self, operator: HessianOperator, vectors: Float[np.ndarray, "K P"]
    ) -> Iterator[Check]:
        """Compare products with unit vectors, and two by two for symmetry."""
        seen = np.asarray(operator.matmat(vectors.T), np.float64).T
        residual = operator.hessian.residual
        compare = partial(
            checks.distance, f"Hessian products of the {self.objective}", source=self.source
        )
        if seen.shape != vectors.shape or not np.isfinite([residual, *seen.ravel()]).all():
            yield compare(seen, np.zeros_like(vectors), self.tolerance(1.0, 0.0))
            return
        wanted = [self.product(vector) for vector in vectors]
        worst = checks.Worst()
        for index, (image, due) in enumerate(zip(seen, wanted, strict=True), start=1):
            allowed, where = self.tolerance(due.rounding, residual), f"direction {index}"
            worst.add(compare(image, due.image, allowed, where=where))
        yield from worst
        form = vectors @ seen.T
        largest = max(due.rounding for due in wanted)
        yield checks.all_close(
            f"symmetric Hessian of the {self.objective}",
            form,
            form.T,
            self.tolerance(2 * largest, 2 * residual),
            source="a Hessian is symmetric",
            axes=["direction", "direction"],
        )

    def solved(self, operator: HessianOperator) -> Iterator[Check]:
        """Check how well the inner systems were solved, in all products so far."""
        if self.objective == "energy":
            yield checks.at_most(
                "inner systems solved",
                operator.hessian.residual,
                0.0,
                Tolerance(self._system.rounding, self.derivation),
                source=self.source,
            )

    @folded
    def eigenpairs(self, operator: HessianOperator, found: Extremes) -> Iterator[Check]:
        """Check that what is said to be eigenpairs, and how well, is so, and that none is twice."""
        name, residual = f"extreme eigenpairs of the {self.objective}", operator.hessian.residual
        for index, pair in enumerate([*found.lowest, *found.highest], start=1):
            due = self.product(pair.vector)
            yield checks.at_most(
                name,
                float(np.linalg.norm(due.image - pair.value * pair.vector)),
                pair.residual,
                self.tolerance(due.rounding, residual),
                source=self.source,
                where=f"pair {index}",
            )
        yield ghosts(f"different eigenvectors of the {self.objective}", found)
