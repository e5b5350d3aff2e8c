"""One critical point of the equilibrated energy: what it is, and what must hold there."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from pcbench import checks
from pcbench.cases.critical_points.search import Batch, Weights
from pcbench.checks import Check, Tolerance
from pcbench.judges.basis import Basis
from pcbench.judges.points import joined
from pcbench.theory.arrays import chain
from pcbench.theory.linear import critical
from pcbench.theory.linear.critical import curvature_along, curvature_rounding
from pcbench.theory.linear.equilibrium import equilibrated_energy_gradient, residuals
from pcbench.theory.rounding.bounds import CONFIDENCE, hessian_rounding, unit_roundoff
from pcbench.theory.rounding.perturbation import equilibrium_rounding

LEMMA_A = "Lemma A (theory.md 2.6)"
CERTIFICATES = "Lemmas B, C and D (theory.md 2.6)"
_U = unit_roundoff("float64")
# A bound on ‖W_L‖ that says that it is zero, and not merely finite.
_SILENT = 1e-3
_ROUNDING = f"rounding at u = {_U:.2g} through this network (theory.md 4)"


class Verdict(StrEnum):
    """What sort of critical point it is."""

    MINIMUM = "global minimum"
    CERTIFIED = "strict saddle, certified"
    MEASURED = "strict saddle, measured"
    CANDIDATE = "candidate for a non-strict saddle"


class CriticalPoint:
    """A point that a search arrived at, with what the backend says of it.

    ``drift``, if given, is how much the Hessian was seen to change (spectral norm) over the step
    that is left to the critical point; otherwise a bound has to do. ``eigenvalues`` are
    those of the Hessian, ascending, and ``eigenvectors`` are columns in the same order; ``ranks``
    are those of ``W_{L:1}`` and ``W_{L-1:1}``.
    """

    def __init__(
        self,
        batch: Batch,
        weights: Weights,
        energy: float,
        loss: float,
        gradients: Weights,
        hessian: Float[np.ndarray, "P P"],
        drift: float | None = None,
    ) -> None:
        self._given = batch, weights, energy, loss, gradients, hessian
        self.batch, self.weights, self.energy, self.loss, self.gradients, self.hessian = self._given
        self._at = weights, batch.x, batch.y
        self._rounding = equilibrium_rounding(*self._at, _U)
        self._hessian_rounding = hessian_rounding(*self._at, _U).eigenvalue
        self.eigenvalues, self.eigenvectors = np.linalg.eigh(hessian)
        # -H⁺ g: to the critical point, as far as the Hessian's curvatures are not rounding. Where
        # they are, the point may slide along a surface of critical points.
        firm = np.abs(self.eigenvalues) > self._hessian_rounding
        along = self.eigenvectors[:, firm].T @ joined(gradients) / self.eigenvalues[firm]
        self.newton_step: Float[np.ndarray, " P"] = -self.eigenvectors[:, firm] @ along
        self.distance = float(np.linalg.norm(self.newton_step))
        self.gradient_norm = float(np.sqrt(sum(np.sum(g**2) for g in gradients)))
        self._steepest = float(np.abs(self.eigenvalues).max())
        # How far products of weights may be from where they are at the critical point itself.
        norm = max(float(np.linalg.norm(weight, 2)) for weight in weights)
        width = max(weight.shape[1] for weight in weights)
        rounding = CONFIDENCE * _U * np.sqrt(2 * width) * max(1.0, norm)
        self._off = critical.product_change(weights, self.distance + rounding)
        self.curvature_tolerance = self._curvature_tolerance(drift)
        self._energy_tolerance = self._tolerance_of_energy()
        layers = len(weights)
        self.ranks = tuple(
            critical.numerical_rank(chain(weights, k, 1), self._off) for k in (layers, layers - 1)
        )
        # Whether the energy is the least there is, which only noise-free targets let one tell.
        minimum = False
        if batch.exact:
            least = critical.least_energy(batch.y, weights[-1].shape[1])
            minimum = bool(energy <= least + self._energy_tolerance.value)
        # What proves that the point is a strict saddle, and Vᵀ ∇²𝓕* V along its direction V.
        self.certificate, self.along_certificate = None, np.nan
        if not minimum:
            self.certificate = critical.certificate(*self._at, self._off)
        if self.certificate is not None:
            v = joined(self.certificate.directions)
            self.along_certificate = float(v @ hessian @ v)
        beyond = -self.curvature_tolerance.value
        self.index = int(np.sum(self.eigenvalues < beyond))  # curvatures negative beyond doubt
        if minimum:
            self.verdict = Verdict.MINIMUM
        elif self.along_certificate < beyond:
            self.verdict = Verdict.CERTIFIED
        else:
            self.verdict = Verdict.MEASURED if self.index else Verdict.CANDIDATE

    def drifted(self, drift: float) -> CriticalPoint:
        """Return the point with its drift measured."""
        return CriticalPoint(*self._given, drift)

    def _curvature_tolerance(self, drift: float | None) -> Tolerance:
        """On a curvature at the critical point itself, from the Hessian nearby.

        The identity in ``S`` makes 1 the scale of weights, and so a distance from the point acts as
        rounding of that relative size would, but for the many independent roundings of a sum.
        """
        if drift is not None:
            return Tolerance(
                self._hessian_rounding + 2 * drift,
                "rounding, and twice what a step towards the critical point changed",
            )
        lengths = len(self.batch.x) + self.batch.x.shape[1] + sum(map(len, self.weights))
        summed = CONFIDENCE * np.sqrt(2 * lengths)
        return Tolerance(
            hessian_rounding(*self._at, _U + self.distance / summed).eigenvalue,
            f"rounding, and {self.distance:.2g} from the critical point (theory.md 4)",
        )

    def _tolerance_of_energy(self) -> Tolerance:
        """On the energy of the critical point itself: it is stationary there."""
        y = self.batch.y
        moved = self.gradient_norm * self.distance + self._steepest * self.distance**2 / 2
        levels = CONFIDENCE * _U * np.sqrt(2 * len(y)) * (float(np.sum(y**2)) / len(y))  # tr Σ_yy
        return Tolerance(
            self._rounding.energy + moved + levels,
            f"rounding, and {self.distance:.2g} from the critical point",
        )

    def checks(self) -> Iterator[Check]:
        """Check the point by Lemma A, its corollaries, and the certificate."""
        basis = Basis("Theorem 1, differentiated (theory.md 2.1)", _ROUNDING)
        yield from basis.distances(
            "gradient of the energy",
            self.gradients,
            equilibrated_energy_gradient(*self._at),
            self._rounding.gradients,
            [f"layer {layer}" for layer in range(1, len(self.weights) + 1)],
        )
        off = zip(self.gradients, self._rounding.gradients, strict=True)
        norms = [float(np.linalg.norm(gradient)) + bound for gradient, bound in off]
        bounds = critical.scaling_bounds(self.weights, norms)
        reached = Basis(LEMMA_A, "|G_l||W_l| + |G_(l-1)||W_(l-1)| of the gradients reached")
        forces = critical.output_forces(*self._at)
        for layer, (force, bound) in enumerate(zip(forces, bounds, strict=True), start=2):
            name = "Lemma A: force of the output on a layer"
            yield reached.at_most(name, force, 0.0, bound, f"layer {layer}")
        excess = critical.loss_excess_bound(self.weights, bounds, len(self.batch.x))
        allowed = Basis(LEMMA_A, "the output forces that the gradient allows, and rounding")
        yield allowed.approx(
            "Lemma A: loss equals energy",
            self.loss,
            self.energy,
            excess + self._rounding.energy + self._rounding.loss,
        )
        yield from self._corollaries(bounds)
        if self.certificate is not None:
            yield from self._certificate_checks(self.certificate)

    def _corollaries(self, bounds: Float[np.ndarray, " L_minus_1"]) -> Iterator[Check]:
        x, y, exact = self.batch
        if exact:
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
        bound = critical.last_layer_bound(residuals(*self._at), pulled)
        # Where some direction is nearly fitted, the corollary is silent.
        if bound < _SILENT:
            derivation = "|R W_L| as the gradient bounds it, over the least size of R"
            name, norm = "noisy targets: norm of the last layer", np.linalg.norm(self.weights[-1])
            corollary = Basis("corollary of Lemma A (theory.md 2.6)", derivation)
            yield corollary.at_most(name, norm, 0.0, bound)

    def _certificate_checks(self, found: critical.Certificate) -> Iterator[Check]:
        yield Basis("Theorem 1, as a power series (theory.md 2.1)", _ROUNDING).approx(
            "curvature along the certificate",
            self.along_certificate,
            curvature_along(self.weights, found.directions, self.batch.x, self.batch.y),
            self._hessian_rounding + curvature_rounding(self.weights, self._steepest),
        )
        compare = checks.at_most if found.lemma == "D" else checks.approx
        yield compare(
            f"Lemma {found.lemma}: predicted curvature",
            self.along_certificate,
            found.curvature,
            self.curvature_tolerance,
            source=CERTIFICATES,
        )
