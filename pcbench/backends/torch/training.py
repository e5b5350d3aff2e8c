"""Training: from a batch to the slope of an objective, optimisers, and the loop that joins them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.linalg import vector_norm

from pcbench.backends.torch.exact import OutputSystem, chains_from_output, output_force
from pcbench.backends.torch.layers import threads_that_pay
from pcbench.backends.torch.model import NOT_EXACTLY, LayeredModel
from pcbench.contract import BackendUnavailableError, ExactInference
from pcbench.contract.training import (
    Adam,
    Batches,
    Record,
    Sgd,
    Trainer,
    TrainingSettings,
    check_run,
)


@dataclass(frozen=True, slots=True)
class Product:
    """A gradient of low rank, ``leftᵀ right``, kept as its factors.

    Where ``k`` is small, adding the product to a weight is one pass over the weight, and the
    gradient itself is never stored.
    """

    left: Float[Tensor, "*R k d_out"]
    right: Float[Tensor, "*R k d_in"]

    def dense(self) -> Float[Tensor, "*R d_out d_in"]:
        """Multiply out."""
        return self.left.mT @ self.right

    def subtract_from(self, weight: Float[Tensor, "*R d_out d_in"], rate: Tensor) -> None:
        """``weight ← weight - rate · leftᵀ right``, in place."""
        left = (self.left * aligned(rate, self.left)).mT
        if weight.dim() == 2:
            weight.addmm_(left, self.right, alpha=-1)
        else:
            weight.baddbmm_(left, self.right, alpha=-1)


Gradient = Tensor | Product
Batch = Float[Tensor, "*#R N _d"]
Precision = Batch | None


class Slope(NamedTuple):
    """An objective at the current parameters, on a batch.

    The energy is that which inference reached, in ``inference_steps``, and at which relative
    residual; of backpropagation it is the loss, and nothing is inferred. Gradients are of weights,
    then of biases.
    """

    loss: Float[Tensor, "*R"]
    energy: Float[Tensor, "*R"]
    gradients: Sequence[Gradient]
    residual: Callable[[], Float[Tensor, "*R"] | float] = lambda: 0.0
    inference_steps: int = 0


def dense(gradient: Gradient) -> Tensor:
    """Return the gradient as a tensor in its parameter's shape."""
    return gradient.dense() if isinstance(gradient, Product) else gradient


def norm(array: Gradient, replicas: int) -> Float[Tensor, "*R"]:
    """Frobenius norm of a gradient or a parameter, with so many axes of replicas.

    A product is multiplied out: ``tr((left leftᵀ)(right rightᵀ))`` is its square and takes less,
    but where factors are large and their product is small, at a plateau, it loses half the digits.
    """
    size: Tensor = vector_norm(dense(array).flatten(replicas), dim=-1)
    return size


def aligned(rate: Float[Tensor, "*R"], array: Tensor) -> Tensor:
    """Give a number of each replica the axes of an array behind it."""
    return rate.reshape(*rate.shape, *(1,) * (array.dim() - rate.dim()))


def slope_from_few_rows(
    model: LayeredModel, relaxed: bool, x: Batch, y: Batch, precision: Precision
) -> Slope:
    r"""Look at either objective of a linear network, from ``d_L`` rows instead of a batch.

    With ``K_l = W_{L:l+1}``, output errors ``E`` (``N × d_L``; ``R`` of backpropagation, ``R S⁻¹``
    of exact predictive coding) and hidden errors ``e_l = E K_l`` (theory.md 2.2), the gradients
    ``-(1/N) e_lᵀ z_{l-1}`` need the activities only through ``Q_l = Eᵀ z_l``:

    .. math::
        ∂/∂W_l = -\tfrac{1}{N} K_l^T Q_{l-1}, \qquad Q_0 = E^T X, \qquad
        Q_l = Q_{l-1} W_l^T + E^T E K_l ,

    where backpropagation, whose activities have no errors, leaves out the last term. All of it is
    products of ``d_L`` rows, and gradients stay products of rank ``d_L``.

    What inference leaves is measured in the usual way, activities and all.
    """
    asked, weights = precision, model.weights
    system = OutputSystem.of(weights) if relaxed else None
    products = system.to_output() if system else chains_from_output(weights)
    first, samples = weights[0], x.shape[-2]
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
    for product, weight in zip(products, weights, strict=False):
        gradients.append(Product(product / -samples, carried))
        carried = carried @ weight.mT
        if system is not None:
            carried = carried + moment @ product

    def residual() -> Tensor | float:
        return model.infer(x, y, ExactInference(), asked).residual if relaxed else 0.0

    return Slope(loss, energy, [*gradients, carried / -samples], residual)


def _relaxed(
    system: OutputSystem,
    off: Float[Tensor, "*R d_L N"],
    precision: Float[Tensor, "*#R d_L N"] | None,
) -> Float[Tensor, "*R d_L N"]:
    """``π e_L`` at equilibrium, a sample a column."""
    if precision is None:
        solved: Tensor = torch.cholesky_solve(off, system.factor)
        return solved
    own = precision.mT.expand(off.mT.shape)
    return output_force(system.through.unsqueeze(-3), off.mT, own).mT


def _half_mean(
    off: Float[Tensor, "*R d_L N"], force: Float[Tensor, "*R d_L N"]
) -> Float[Tensor, "*R"]:
    return (off * force).sum((-2, -1)) / (2 * off.shape[-1])


class Optimiser:
    """Moves parameters, in place: ``θ ← θ - η s g``, or Adam (Kingma & Ba 2015, arXiv:1412.6980).

    ``torch.optim`` has one learning rate for all of a tensor, and so cannot train replicas that
    differ in it.
    """

    def __init__(self, settings: Sgd | Adam, rate: Float[Tensor, "*R"], scale: float) -> None:
        self._settings, self._rate, self._scale = settings, rate, scale
        self._steps = 0
        self._means: list[Tensor] = []
        self._squares: list[Tensor] = []

    def update(self, parameters: Sequence[Tensor], gradients: Sequence[Gradient]) -> None:
        """Take one step."""
        if isinstance(self._settings, Adam):
            self._adapt(self._settings, parameters, gradients)
            return
        rate = self._rate * self._scale
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if isinstance(gradient, Product):
                gradient.subtract_from(parameter, rate)
            else:
                parameter.sub_(gradient * aligned(rate, gradient))

    def _adapt(
        self, adam: Adam, parameters: Sequence[Tensor], gradients: Sequence[Gradient]
    ) -> None:
        if not self._steps:
            self._means = [torch.zeros_like(parameter) for parameter in parameters]
            self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps += 1
        first, second = adam.beta_1, adam.beta_2
        rate = self._rate / (1 - first**self._steps)
        unbiased = (1 - second**self._steps) ** -0.5
        for parameter, gradient, mean, square in zip(
            parameters, map(dense, gradients), self._means, self._squares, strict=True
        ):
            scaled = gradient * self._scale
            mean.lerp_(scaled, 1 - first)
            square.mul_(second).addcmul_(scaled, scaled, value=1 - second)
            away = square.sqrt().mul_(unbiased).add_(adam.epsilon)
            parameter.sub_((mean / away).mul_(aligned(rate, mean)))

    def keep(self, replicas: Tensor) -> None:
        """Forget all other replicas, with their moments."""
        if self._rate.dim():
            self._rate = self._rate[replicas]
        self._means = [mean[replicas] for mean in self._means]
        self._squares = [square[replicas] for square in self._squares]


class TorchTrainer(Trainer[Tensor]):
    """Trains a copy of a network; replicas learn side by side."""

    model: LayeredModel

    def __init__(
        self,
        model: LayeredModel,
        x: Batch,
        y: Batch,
        settings: TrainingSettings,
        precision: Precision = None,
    ) -> None:
        relaxed = settings.objective == "energy"
        exact = isinstance(settings.inference, ExactInference)
        if relaxed and exact and not model.solves_exactly:
            raise BackendUnavailableError(NOT_EXACTLY)
        self._closed = model.solves_exactly and (exact or not relaxed)
        self._data, self._settings = (x, y, precision), settings
        self._parameters = [parameter.clone() for parameter in model.parameters]
        self.model = model.along(self._parameters)
        rate = torch.as_tensor(settings.learning_rate, dtype=x.dtype, device=x.device)
        self._optimiser = Optimiser(settings.optimiser, rate, settings.scale)

    def run(self, steps: int, batches: Batches = None, every: int = 1) -> Record:
        """Take steps; nothing comes to the host before the last, but what engines look at."""
        x, y, _ = self._data
        check_run(steps, batches, every, x.shape[-2])
        rows = len(x) if batches is None else batches.shape[-1]
        few = self._closed and y.shape[-1] <= rows
        rows = y.shape[-1] if few else rows  # of the largest products
        chosen = None if batches is None else torch.from_numpy(batches).to(x.device)
        replicas = self.model.layers[0].affine.replicas
        recorded = np.arange(0, steps, every)
        losses, energies = x.new_empty(2, steps, *replicas)
        sizes = x.new_empty(2, len(recorded), *replicas, len(self._parameters))
        residuals = x.new_empty(len(recorded), *replicas)
        inference_steps = np.zeros(len(recorded))
        with threads_that_pay(self.model.layers, rows, x.device):
            for step in range(steps):
                slope = self._slope(few, *self._batch(None if chosen is None else chosen[step]))
                losses[step], energies[step] = slope.loss, slope.energy
                if step % every == 0:
                    place = step // every
                    for kind, arrays in enumerate((slope.gradients, self._parameters)):
                        for column, array in enumerate(arrays):
                            sizes[kind, place, ..., column] = norm(array, len(replicas))
                    residuals[place] = slope.residual()
                    inference_steps[place] = slope.inference_steps
                self._optimiser.update(self._parameters, slope.gradients)
        return Record(
            losses=to_host(losses),
            energies=to_host(energies),
            recorded=recorded,
            gradient_norms=to_host(sizes[0]),
            parameter_norms=to_host(sizes[1]),
            inference_steps=inference_steps,
            residuals=to_host(residuals),
        )

    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        """Bring weights, then biases, to the host, in float64."""
        return [to_host(parameter) for parameter in self._parameters]

    def keep(self, replicas: Sequence[int]) -> None:
        """Go on with these replicas alone."""
        if not self.model.layers[0].affine.replicas:
            raise BackendUnavailableError("a network without replicas has none to keep")
        kept = torch.tensor(list(replicas), device=self._data[0].device)
        self._parameters = [parameter[kept] for parameter in self._parameters]
        self.model = self.model.along(self._parameters)
        self._optimiser.keep(kept)

    def _slope(self, few: bool, x: Batch, y: Batch, precision: Precision) -> Slope:
        """Follow the learning rule."""
        model, relaxed = self.model, self._settings.objective == "energy"
        if few:
            return slope_from_few_rows(model, relaxed, x, y, precision)
        if not relaxed:
            loss, gradients = model.backpropagate(x, y, precision)
            return Slope(loss, loss, gradients)
        reached = model.infer(x, y, self._settings.inference, precision)
        loss = model.loss(x, y, precision)
        gradients = model.energy_gradients(reached.activities, precision)
        energy = reached.energies.sum(-1)
        return Slope(loss, energy, gradients, lambda: reached.residual, reached.steps)

    def _batch(self, rows: Int[Tensor, "*R N"] | None) -> tuple[Batch, Batch, Batch | None]:
        x, y, precision = self._data
        if rows is None:
            return x, y, precision
        return x[rows], y[rows], None if precision is None else precision[rows]


def to_host(array: Tensor) -> Float[np.ndarray, "..."]:
    """Bring an array to the host, in float64: a copy, also of float64 that is there already."""
    return array.cpu().to(torch.float64, copy=True).numpy()
