"""One critical point of the equilibrated energy: what it is, and what must hold there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.checks import Check, Tolerance
from pcbench.judges.basis import Basis
from pcbench.judges.points import joined
from pcbench.theory.arrays import chain
from pcbench.theory.linear import critical
from pcbench.theory.linear.critical import curvature_along, curvature_rounding
from pcbench.theory.linear.equilibrium import equilibrated_energy_gradient, residuals
from pcbench.theory.rounding.bounds import CONFIDENCE, hessian_rounding, unit_roundoff
from pcbench.theory.rounding.perturbation import EquilibriumRounding, equilibrium_rounding

Weights = list[Float[np.ndarray, "_out _inp"]]
LEMMA_A = "Lemma A (theory.md 2.6)"
CERTIFICATES = "Lemmas B, C and D (theory.md 2.6)"


class Verdict(StrEnum):
    """What sort of critical point it is."""

    MINIMUM = "global minimum"
    CERTIFIED = "strict saddle, certified"
    MEASURED = "strict saddle, measured"
    CANDIDATE = "candidate for a non-strict saddle"


@dataclass(frozen=True)
class Batch:
    """Inputs and targets, and whether the targets are a linear function of the inputs."""

    x: Float[np.ndarray, "N d_0"]
    y: Float[np.ndarray, "N d_L"]
    exact: bool


@dataclass(frozen=True)
class CriticalPoint:
    """A point that a search arrived at, with what the backend says of it.

    ``drift`` is how much the Hessian was seen to change (spectral norm) over the step that is left
    to the critical point; ``None`` where it was not measured, and a bound has to do.
    """

    weights: Weights
    batch: Batch
    energy: float
    loss: float
    gradients: Weights
    hessian: Float[np.ndarray, "P P"]
    drift: float | None = None

    @cached_property
    def eigenpairs(self) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, "P P"]]:
        """Eigenvalues of the Hessian, ascending, and its eigenvectors, one a column."""
        values, vectors = np.linalg.eigh(self.hessian)
        return values, vectors

    @property
    def eigenvalues(self) -> Float[np.ndarray, " P"]:
        """Eigenvalues alone."""
        return self.eigenpairs[0]

    @cached_property
    def newton_step(self) -> Float[np.ndarray, " P"]:
        """``-H⁺ g``: to the critical point, as far as the Hessian's curvatures are not rounding.

        Where they are, the point may slide along a surface of critical points.
        """
        values, vectors = self.eigenpairs
        firm = np.abs(values) > self._hessian_rounding(_U)
        along = vectors[:, firm].T @ joined(self.gradients) / values[firm]
        step: Float[np.ndarray, " P"] = -vectors[:, firm] @ along
        return step

    @cached_property
    def distance(self) -> float:
        """How far the critical point is away."""
        return float(np.linalg.norm(self.newton_step))

    @cached_property
    def gradient_norm(self) -> float:
        """``‖∇𝓕*‖``."""
        return float(np.sqrt(sum(np.sum(g**2) for g in self.gradients)))

    @cached_property
    def certificate(self) -> critical.Certificate | None:
        """What proves that the point is a strict saddle; nothing at a global minimum."""
        if self.is_minimum:
            return None
        return critical.certificate(self.weights, self.batch.x, self.batch.y, self.off)

    @cached_property
    def along_certificate(self) -> float:
        """``Vᵀ ∇²𝓕* V`` along the certificate's direction, by the backend's Hessian."""
        assert self.certificate is not None  # for the type checker
        v = joined(self.certificate.directions)
        return float(v @ self.hessian @ v)

    @cached_property
    def off(self) -> float:
        """How far products of weights may be from where they are at the critical point itself."""
        norm = max(float(np.linalg.norm(weight, 2)) for weight in self.weights)
        width = max(weight.shape[1] for weight in self.weights)
        rounding = CONFIDENCE * _U * np.sqrt(2 * width) * max(1.0, norm)
        return critical.product_change(self.weights, self.distance + rounding)

    @property
    def index(self) -> int:
        """How many curvatures are negative, beyond doubt."""
        return int(np.sum(self.eigenvalues < -self.curvature_tolerance.value))

    @cached_property
    def curvature_tolerance(self) -> Tolerance:
        """On a curvature at the critical point itself, from the Hessian nearby.

        The identity in ``S`` makes 1 the scale of weights, and so a distance from the point acts as
        rounding of that relative size would, but for the many independent roundings of a sum.
        """
        if self.drift is not None:
            return Tolerance(
                self._hessian_rounding(_U) + 2 * self.drift,
                "rounding, and twice what a step towards the critical point changed",
            )
        lengths = len(self.batch.x) + self.batch.x.shape[1] + sum(map(len, self.weights))
        summed = CONFIDENCE * np.sqrt(2 * lengths)
        bound = self._hessian_rounding(_U + self.distance / summed)
        return Tolerance(
            bound, f"rounding, and {self.distance:.2g} from the critical point (theory.md 4)"
        )

    @property
    def is_minimum(self) -> bool:
        """Whether the energy is the least there is, which only noise-free targets let one tell."""
        if not self.batch.exact:
            return False
        least = critical.least_energy(self.batch.y, self.weights[-1].shape[1])
        return bool(self.energy <= least + self._energy_tolerance.value)

    @property
    def verdict(self) -> Verdict:
        """What sort of point it is."""
        if self.is_minimum:
            return Verdict.MINIMUM
        beyond = -self.curvature_tolerance.value
        if self.certificate is not None and self.along_certificate < beyond:
            return Verdict.CERTIFIED
        return Verdict.MEASURED if self.eigenvalues[0] < beyond else Verdict.CANDIDATE

    @property
    def ranks(self) -> tuple[int, int]:
        """Ranks of ``W_{L:1}`` and of ``W_{L-1:1}``."""
        layers = len(self.weights)
        whole, hidden = (chain(self.weights, k, 1) for k in (layers, layers - 1))
        return critical.numerical_rank(whole, self.off), critical.numerical_rank(hidden, self.off)

    def checks(self) -> Iterator[Check]:
        """Check the point by Lemma A, its corollaries, and the certificate."""
        yield from self._gradient_checks()
        bounds = critical.scaling_bounds(
            self.weights,
            [
                float(np.linalg.norm(g)) + bound
                for g, bound in zip(self.gradients, self._rounding.gradients, strict=True)
            ],
        )
        yield from self._lemma_a(bounds)
        yield from self._corollaries(bounds)
        if self.certificate is not None:
            yield from self._certificate_checks(self.certificate)

    def _gradient_checks(self) -> Iterator[Check]:
        expected = equilibrated_energy_gradient(self.weights, self.batch.x, self.batch.y)
        basis = Basis("Theorem 1, differentiated (theory.md 2.1)", _ROUNDING)
        for layer, (seen, wanted, bound) in enumerate(
            zip(self.gradients, expected, self._rounding.gradients, strict=True), start=1
        ):
            yield basis.distance("gradient of the energy", seen, wanted, bound, f"layer {layer}")

    def _lemma_a(self, bounds: Float[np.ndarray, " L_minus_1"]) -> Iterator[Check]:
        samples = len(self.batch.x)
        reached = Basis(LEMMA_A, "|G_l||W_l| + |G_(l-1)||W_(l-1)| of the gradients reached")
        forces = critical.output_forces(self.weights, self.batch.x, self.batch.y)
        for layer, (force, bound) in enumerate(zip(forces, bounds, strict=True), start=2):
            name = "Lemma A: force of the output on a layer"
            yield reached.at_most(name, force, 0.0, bound, f"layer {layer}")
        excess = critical.loss_excess_bound(self.weights, bounds, samples)
        off = excess + self._rounding.energy + self._rounding.loss
        allowed = Basis(LEMMA_A, "the output forces that the gradient allows, and rounding")
        yield allowed.approx("Lemma A: loss equals energy", self.loss, self.energy, off)

    def _corollaries(self, bounds: Float[np.ndarray, " L_minus_1"]) -> Iterator[Check]:
        x, y = self.batch.x, self.batch.y
        if self.batch.exact:
            levels = critical.energy_levels(y, [x.shape[1], *map(len, self.weights)])
            yield checks.approx(
                "energy of a critical point",
                self.energy,
                float(levels[np.argmin(np.abs(levels - self.energy))]),
                self._energy_tolerance,
                source="half a sum of eigenvalues of the targets' moments (theory.md 2.6)",
            )
            return
        pulled = float(critical.residual_bounds(self.weights, bounds, len(x))[-1])
        bound = critical.last_layer_bound(residuals(self.weights, x, y), pulled)
        # Where some direction is nearly fitted, the corollary is silent.
        if bound < _SILENT:
            yield Basis(
                "corollary of Lemma A (theory.md 2.6)",
                "|R W_L| as the gradient bounds it, over the least size of R",
            ).at_most(
                "noisy targets: norm of the last layer",
                np.linalg.norm(self.weights[-1]),
                0.0,
                bound,
            )

    def _certificate_checks(self, found: critical.Certificate) -> Iterator[Check]:
        x, y = self.batch.x, self.batch.y
        steepest = float(np.abs(self.eigenvalues).max())
        yield Basis("Theorem 1, as a power series (theory.md 2.1)", _ROUNDING).approx(
            "curvature along the certificate",
            self.along_certificate,
            curvature_along(self.weights, found.directions, x, y),
            self._hessian_rounding(_U) + curvature_rounding(self.weights, steepest),
        )
        compare = checks.at_most if found.lemma == "D" else checks.approx
        yield compare(
            f"Lemma {found.lemma}: predicted curvature",
            self.along_certificate,
            found.curvature,
            self.curvature_tolerance,
            source=CERTIFICATES,
        )

    @cached_property
    def _rounding(self) -> EquilibriumRounding:
        return equilibrium_rounding(self.weights, self.batch.x, self.batch.y, _U)

    def _hessian_rounding(self, u: float) -> float:
        return hessian_rounding(self.weights, self.batch.x, self.batch.y, u).eigenvalue

    @cached_property
    def _energy_tolerance(self) -> Tolerance:
        """On the energy of the critical point itself: it is stationary there."""
        steepest = float(np.abs(self.eigenvalues).max())
        moved = self.gradient_norm * self.distance + steepest * self.distance**2 / 2
        targets = float(np.sum(self.batch.y**2)) / len(self.batch.y)  # tr Σ_yy
        levels = CONFIDENCE * _U * np.sqrt(2 * len(self.batch.y)) * targets
        return Tolerance(
            self._rounding.energy + moved + levels,
            f"rounding, and {self.distance:.2g} from the critical point",
        )


_U = unit_roundoff("float64")
# A bound on ‖W_L‖ that says that it is zero, and not merely finite.
_SILENT = 1e-3
_ROUNDING = f"rounding at u = {_U:.2g} through this network (theory.md 4)"
