"""Learning rules: from a batch to the slope of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.engines.exact import OutputSystem, chains_from_output
from pcbench.backends.torch.model import LayeredModel
from pcbench.backends.torch.training.slope import Gradient, Product, Slope
from pcbench.contract.inference import ExactInference, InferenceSettings

Batch = Float[Tensor, "*#R N _d"]


class Rule(ABC):
    """Says where downhill is."""

    @abstractmethod
    def __call__(self, x: Batch, y: Batch, precision: Batch | None) -> Slope:
        """Evaluate the objective and its gradients at the parameters as they are now."""

    @abstractmethod
    def residual(self, x: Batch, y: Batch, precision: Batch | None) -> Float[Tensor, "*R"]:
        """Relative residual that inference reaches there."""


class Backpropagation(Rule):
    """Gradients of the loss, layer by layer."""

    def __init__(self, model: LayeredModel) -> None:
        self._model = model

    def __call__(self, x: Batch, y: Batch, precision: Batch | None) -> Slope:
        """Go forward and back."""
        loss, gradients = self._model.backpropagate(x, y, precision)
        return Slope(loss, loss, gradients)

    def residual(self, x: Batch, y: Batch, precision: Batch | None) -> Float[Tensor, "*R"]:
        """Nothing is inferred."""
        weight = self._model.layers[0].affine
        return torch.zeros(weight.replicas, dtype=x.dtype, device=x.device)


class PredictiveCoding(Rule):
    """Inference by any engine, then local gradients of the energy at the activities reached."""

    def __init__(self, model: LayeredModel, settings: InferenceSettings) -> None:
        self._model, self._settings = model, settings

    def __call__(self, x: Batch, y: Batch, precision: Batch | None) -> Slope:
        """Infer, and differentiate layer by layer."""
        reached = self._model.infer(x, y, self._settings, precision)
        loss = self._model.loss(x, y, precision)
        gradients = self._model.energy_gradients(reached.activities, precision)
        self._residual = reached.residual
        return Slope(loss, reached.energies.sum(-1), gradients, reached.steps)

    def residual(self, x: Batch, y: Batch, precision: Batch | None) -> Float[Tensor, "*R"]:
        """Return what the last inference reached."""
        return self._residual


class FewRows(Rule):
    r"""Either rule in a linear network, from ``d_L`` rows instead of a batch.

    With ``K_l = W_{L:l+1}``, output errors ``E`` (``N × d_L``; ``R`` of backpropagation, ``R S⁻¹``
    of exact predictive coding) and hidden errors ``e_l = E K_l`` (theory.md 2.2), the gradients
    ``-(1/N) e_lᵀ z_{l-1}`` need the activities only through ``Q_l = Eᵀ z_l``:

    .. math::
        ∂/∂W_l = -\tfrac{1}{N} K_l^T Q_{l-1}, \qquad Q_0 = E^T X, \qquad
        Q_l = Q_{l-1} W_l^T + E^T E K_l ,

    where backpropagation, whose activities have no errors, leaves out the last term. All of it is
    products of ``d_L`` rows, and gradients stay products of rank ``d_L``.

    Parameters
    ----------
    model
        A linear network.
    weights
        Its ``W_1 … W_L``, updated in place from outside.
    relaxed
        Whether to infer, or to propagate back.
    """

    def __init__(self, model: LayeredModel, weights: Sequence[Tensor], *, relaxed: bool) -> None:
        self._model, self._weights, self._relaxed = model, weights, relaxed

    def __call__(self, x: Batch, y: Batch, precision: Batch | None) -> Slope:
        """Evaluate both objectives, and the gradients of one."""
        system = OutputSystem.of(self._weights) if self._relaxed else None
        products = system.to_output() if system else chains_from_output(self._weights)
        first, samples = self._weights[0], x.shape[-2]
        off = y.mT - (products[0] @ first if products else first) @ x.mT  # Rᵀ
        if precision is not None:
            precision = precision.mT
            off = torch.where(precision > 0, off, 0)
        force = off if precision is None else off * precision  # Eᵀ, weighed
        loss = energy = _half_mean(off, force)
        if system is not None and products:
            force = _relaxed(system, off, precision)
            energy = _half_mean(off, force)
            moment = force @ force.mT
        carried = force @ x  # Q_0
        gradients: list[Gradient] = []
        for product, weight in zip(products, self._weights, strict=False):
            gradients.append(Product(product / -samples, carried))
            carried = carried @ weight.mT
            if system is not None:
                carried = carried + moment @ product
        return Slope(loss, energy, [*gradients, carried / -samples])

    def residual(self, x: Batch, y: Batch, precision: Batch | None) -> Float[Tensor, "*R"]:
        """Infer in the usual way, activities and all, to measure what is left."""
        if not self._relaxed:
            return Backpropagation(self._model).residual(x, y, precision)
        return self._model.infer(x, y, ExactInference(), precision).residual


def _relaxed(
    system: OutputSystem,
    off: Float[Tensor, "*R d_L N"],
    precision: Float[Tensor, "*#R d_L N"] | None,
) -> Float[Tensor, "*R d_L N"]:
    """``π e_L`` at equilibrium, a sample a column."""
    if precision is None:
        solved: Tensor = torch.cholesky_solve(off, system.factor)
        return solved
    return system.solve_observed(off.mT, precision.mT.expand(off.mT.shape)).mT


def _half_mean(
    off: Float[Tensor, "*R d_L N"], force: Float[Tensor, "*R d_L N"]
) -> Float[Tensor, "*R"]:
    return (off * force).sum((-2, -1)) / (2 * off.shape[-1])
