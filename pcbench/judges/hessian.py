"""Checks of a Hessian: its products in any network, its extreme eigenvalues, and its spectrum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse
from jaxtyping import Float
from scipy.sparse.csgraph import connected_components

from pcbench.case import Columns
from pcbench.checks import Check, undecided
from pcbench.contract import DType, Objective
from pcbench.judges.basis import Basis, folded
from pcbench.judges.points import joined, split
from pcbench.judges.problem import Problem
from pcbench.judges.reported import CONTRACT, EDGE, none_of
from pcbench.spectra import Extremes, HessianOperator
from pcbench.theory.nonlinear.curvature import error_curvatures
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


def block_eigenvalues(matrix: Float[np.ndarray, "P P"]) -> Float[np.ndarray, " P"]:
    """All eigenvalues of a symmetric matrix, ascending, block by block of its sparsity.

    Exact, like a dense eigensolver, but cubic only in the largest set of parameters that entries
    other than zero connect: at the origin that is one hidden unit's, not the network's.
    """
    graph = scipy.sparse.csr_array(matrix != 0)
    _, labels = connected_components(graph, directed=False)
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    singles = np.array([block[0] for block in members if len(block) == 1], dtype=np.intp)
    spectra = [matrix[singles, singles]]
    spectra += [_eigenvalues(matrix[np.ix_(block, block)]) for block in members if len(block) > 1]
    return np.sort(np.concatenate(spectra))


def _eigenvalues(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    """All eigenvalues of a symmetric matrix, in any order.

    Where a few parameters connect all others, which have no entry among themselves (the last
    layer's do, at a zero-rank saddle), a QR factorisation of the others' rows turns them, by a
    rotation and so exactly, into as many as there are of the few, and zeros.
    """
    degrees = np.count_nonzero(matrix, axis=1)
    order = np.argsort(-degrees, kind="stable")
    few = int(np.searchsorted(-degrees[order], -np.sqrt(len(matrix))))
    hubs, others = order[:few], order[few:]
    if few > len(others) or matrix[np.ix_(others, others)].any():
        return np.linalg.eigvalsh(matrix)
    coupling = np.asarray(np.linalg.qr(matrix[np.ix_(others, hubs)], mode="r"))
    small = np.block([[matrix[np.ix_(hubs, hubs)], coupling.T], [coupling, np.zeros((few, few))]])
    return np.concatenate([np.linalg.eigvalsh(small), np.zeros(len(others) - few)])


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
    return Basis(
        "eigenvectors of a symmetric operator are orthogonal",
        "parallel vectors have 1, orthogonal ones 0",
    ).at_most(name, worst, 0.0, 0.5)


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


class ProductJudge:
    """Multiplies by the theory's Hessian of one objective, and says how far others may be off.

    ``activities`` are ``z_0 … z_L`` at equilibrium, as the backend found them; the loss looks at
    the ends alone. ValueError if they are no minimum, or the dtype cannot tell a solution there.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        activities: Sequence[Float[np.ndarray, "N _d"]],
        dtype: DType,
    ) -> None:
        self.objective = objective
        self._problem, self._network, self._activities = problem, problem.layered, list(activities)
        self._u = unit_roundoff(dtype)
        self.derivation = f"rounding at u = {self._u:.2g} in this network (theory.md 4)"
        self._basis = Basis(SOURCES[objective], self.derivation)
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

    def product(self, vector: Vector) -> tuple[Vector, float]:
        """Return ``H v`` of a unit vector, and how far rounding may carry another from it."""
        direction = split(self._problem.network, vector)
        image, residual = self._multiply(self._network, self._activities, direction)
        # A fixed stream: what is allowed must not depend on what was asked before.
        errors = np.random.default_rng(0)
        moved, _ = self._multiply(
            *with_rounding(self._network, self._activities, direction, self._u, errors)
        )
        off = CONFIDENCE * float(np.linalg.norm(moved - image))
        return image, off + self._floor + self._system.weight * residual

    def _multiply(
        self,
        network: Layered,
        activities: Sequence[Float[np.ndarray, "N _d"]],
        direction: Sequence[Float[np.ndarray, "..."]],
    ) -> tuple[Vector, float]:
        if self.objective == "loss":
            ends = activities[0], activities[-1]
            found = loss_hessian_product(network, *ends, direction, self._counts)
        else:
            found = energy_hessian_product(network, activities, direction, self._counts)
        return joined(found.product), found.residual

    def allowed(self, rounding: float, residual: float) -> float:
        """Return what rounding and the residual of the backend's inner systems may make.

        No more of the latter than :meth:`solved` lets pass: no backend sets its own tolerance.
        """
        most = self._system.rounding
        return rounding + self._system.weight * (residual if residual <= most else most)

    @folded
    def findings(
        self, operator: HessianOperator, vectors: Float[np.ndarray, "K P"]
    ) -> Iterator[Check]:
        """Compare products with unit vectors, and two by two for symmetry."""
        seen = np.asarray(operator.matmat(vectors.T), np.float64).T
        residual = operator.hessian.residual
        name = f"Hessian products of the {self.objective}"
        if seen.shape != vectors.shape or not np.isfinite([residual, *seen.ravel()]).all():
            yield self._basis.distance(name, seen, np.zeros_like(vectors), self.allowed(1.0, 0.0))
            return
        wanted = [self.product(vector) for vector in vectors]
        for index, (image, (due, rounding)) in enumerate(zip(seen, wanted, strict=True), start=1):
            off, where = self.allowed(rounding, residual), f"direction {index}"
            yield self._basis.distance(name, image, due, off, where)
        form = vectors @ seen.T
        off = self.allowed(2 * max(rounding for _, rounding in wanted), 2 * residual)
        name, axes = f"symmetric Hessian of the {self.objective}", ["direction", "direction"]
        symmetric = Basis("a Hessian is symmetric", self.derivation)
        yield symmetric.all_close(name, form, form.T, off, axes)

    def solved(self, operator: HessianOperator) -> Iterator[Check]:
        """Check how well the inner systems were solved, in all products so far.

        Engines solve them in the prediction errors, by a system ``I + √Π K Kᵀ √Π`` of the outputs.
        Where its own rounding, ``λ u √(2n)`` of its norm, may hide its least eigenvalue, which is 1
        or more, a residual that is too large is undecided.
        """
        if self.objective == "loss":
            return
        left, most = operator.hessian.residual, self._system.rounding
        check = self._basis.at_most("inner systems solved", left, 0.0, most)
        if check.status == "failed":
            size = error_curvatures(self._network, self._activities, self._counts).max()
            longest = max(activity.shape[1] for activity in self._activities)
            if CONFIDENCE * self._u * np.sqrt(2 * longest) * size >= 1:
                reason = (
                    f"{check.name}: they are solved by a system of the outputs of norm {size:.2g}, "
                    "whose rounding may hide its least eigenvalue."
                )
                check = undecided(check.name, reason, source=EDGE)
        yield check

    @folded
    def eigenpairs(self, operator: HessianOperator, found: Extremes) -> Iterator[Check]:
        """Check that what is said to be eigenpairs, and how well, is so, and that none is twice."""
        name, residual = f"extreme eigenpairs of the {self.objective}", operator.hessian.residual
        for index, pair in enumerate([*found.lowest, *found.highest], start=1):
            due, rounding = self.product(pair.vector)
            left, off = due - pair.value * pair.vector, self.allowed(rounding, residual)
            yield self._basis.at_most(
                name, np.linalg.norm(left), pair.residual, off, f"pair {index}"
            )
        yield ghosts(f"different eigenvectors of the {self.objective}", found)
