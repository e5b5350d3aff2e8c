"""Backends with one deliberate mistake each, the kind that people make, around the correct one.

Every class is a PyTorch backend that is right but for its docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from pcbench.backends import ExactInference, GradientInference, Hessian, Inference
from pcbench.backends.torch import LinearModel, TorchBackend


class FaultyBackend(TorchBackend):
    """Correct but for the model that it builds."""

    model: ClassVar[type[LinearModel]]

    def build(self, network, weights):
        return self.model(super().build(network, weights).weights)


FAULTS: dict[str, type[FaultyBackend]] = {}


def fault(model: type[LinearModel]) -> type[LinearModel]:
    """Put a backend that builds this model into the catalogue."""
    attributes = {"model": model, "__doc__": model.__doc__}
    FAULTS[model.__name__] = type(model.__name__, (FaultyBackend,), attributes)
    return model


def relaxed_with(
    weights: Sequence[Tensor], x: Tensor, y: Tensor, covariance: Tensor, sign: float = 1.0
) -> Inference[Tensor]:
    """Exact inference as it comes out with another S, or another sign of the residual."""
    off = y - x @ torch.linalg.multi_dot([*reversed(weights)]).T
    errors = [sign * torch.linalg.solve(covariance, off.T).T]
    for weight in reversed(weights[1:]):
        errors.insert(0, errors[0] @ weight)
    activities = [x]
    for weight, error in zip(weights, errors, strict=True):
        activities.append(activities[-1] @ weight.T + error)
    energies = torch.stack([(error**2).sum() for error in errors]) / (2 * len(x))
    return Inference(activities, energies, 0, torch.zeros((), dtype=x.dtype), converged=True)


def covariance(weights: Sequence[Tensor], first: int = 2, identity: bool = True) -> Tensor:
    """``S`` with the sum from another layer, or without the identity."""
    size = weights[-1].shape[0]
    total = torch.eye(size, dtype=weights[-1].dtype) * (1.0 if identity else 1e-6)
    for start in range(first, len(weights) + 1):
        product = weights[start - 1]
        for weight in weights[start:]:
            product = weight @ product
        total = total + product @ product.T
    return total


@fault
class NoIdentity(LinearModel):
    """The identity is missing from S."""

    def infer(self, x, y, settings):
        return relaxed_with(self.weights, x, y, covariance(self.weights, identity=False))


@fault
class SumFromOne(LinearModel):
    """The sum in S starts at layer 1."""

    def infer(self, x, y, settings):
        return relaxed_with(self.weights, x, y, covariance(self.weights, first=1))


@fault
class SumFromThree(LinearModel):
    """The sum in S starts at layer 3."""

    def infer(self, x, y, settings):
        return relaxed_with(self.weights, x, y, covariance(self.weights, first=3))


@fault
class WrongSign(LinearModel):
    """The output residual has the wrong sign."""

    def infer(self, x, y, settings):
        return relaxed_with(self.weights, x, y, covariance(self.weights), sign=-1.0)


@fault
class FiveSteps(LinearModel):
    """Inference stops after 5 steps and says that it is done."""

    def infer(self, x, y, settings):
        wanted = settings.residual if isinstance(settings, GradientInference) else 1e-12
        reached = super().infer(x, y, GradientInference(step=0.1, max_steps=5, residual=wanted))
        return replace(reached, converged=True, residual=torch.full_like(reached.residual, wanted))


@fault
class GivesUp(LinearModel):
    """Inference stops after 5 steps and says so."""

    def infer(self, x, y, settings):
        return super().infer(x, y, GradientInference(step=0.1, max_steps=5, residual=1e-12))


@fault
class OutputEnergyOnly(LinearModel):
    """Only the output layer's energy is counted."""

    def infer(self, x, y, settings):
        reached = super().infer(x, y, settings)
        return replace(reached, energies=self._output_only(reached.energies))

    def energies(self, activities):
        return self._output_only(super().energies(activities))

    @staticmethod
    def _output_only(energies):
        return torch.cat([torch.zeros_like(energies[:-1]), energies[-1:]])


@fault
class TransposedProduct(LinearModel):
    """A square weight is transposed in the backward recursion of the errors."""

    def infer(self, x, y, settings):
        first, *rest = self.weights
        flipped = [w.T.contiguous() if w.shape[0] == w.shape[1] else w for w in rest]
        wrong = LinearModel([first, *flipped]).infer(x, y, settings)
        errors = [
            above - below @ w.T
            for w, below, above in zip(
                [first, *flipped], wrong.activities, wrong.activities[1:], strict=False
            )
        ]
        activities = [x]
        for weight, error in zip(self.weights, errors, strict=True):
            activities.append(activities[-1] @ weight.T + error)
        return replace(wrong, activities=activities)


@fault
class SummedGradients(LinearModel):
    """Weight gradients are summed over the batch, not averaged."""

    def energy_gradients(self, activities):
        return [len(activities[0]) * gradient for gradient in super().energy_gradients(activities)]


class Distorted(Hessian):
    """A Hessian with one mistake, made of a correct one."""

    residual = 0.0

    def __init__(self, correct, mistake):
        self._correct, self._mistake = correct, mistake

    def product(self, vectors):
        return self._mistake(self._correct.product, vectors)


class WithDistortedHessians(LinearModel):
    """Both Hessians have the mistake ``distort``."""

    def distort(self, product, vectors):
        raise NotImplementedError

    def loss_hessian(self, x, y, precision=None):
        return Distorted(super().loss_hessian(x, y), self.distort)

    def energy_hessian(self, activities, precision=None, residual=None):
        return Distorted(super().energy_hessian(activities), self.distort)


@fault
class HalvedLastBlock(WithDistortedHessians):
    """The last diagonal block of the Hessian is halved."""

    def distort(self, product, vectors):
        last = self.weights[-1].numel()
        alone = torch.zeros_like(vectors)
        alone[:, -last:] = vectors[:, -last:]
        found = product(vectors)
        found[:, -last:] -= product(alone)[:, -last:] / 2
        return found


@fault
class WrongBlock(WithDistortedHessians):
    """The Hessian is symmetrised by copying a block where its transpose belongs."""

    def distort(self, product, vectors):
        hessian = product(torch.eye(vectors.shape[1], dtype=vectors.dtype))
        last = self.weights[-1].numel()
        block = hessian[:-last, -last:]
        hessian[-last:, :-last] = block.reshape(last, -1)
        return vectors @ hessian


@fault
class SwappedActivities(LinearModel):
    """The activities of two hidden layers are swapped."""

    def infer(self, x, y, settings):
        reached = super().infer(x, y, settings)
        first, *hidden, last = reached.activities
        return replace(reached, activities=[first, *reversed(hidden), last])


@fault
class MissingHalf(LinearModel):
    """The energies lack the factor of one half."""

    def infer(self, x, y, settings):
        reached = super().infer(x, y, settings)
        return replace(reached, energies=2 * reached.energies)

    def energies(self, activities):
        return 2 * super().energies(activities)


@fault
class MeanOverOutputs(LinearModel):
    """The loss is averaged over outputs as well."""

    def loss(self, x, y):
        return super().loss(x, y) / y.shape[1]


@fault
class InferenceReportsLoss(LinearModel):
    """The energy reported is the one before inference, twice over."""

    def infer(self, x, y, settings):
        reached = super().infer(x, y, settings)
        share = 2 * self.loss(x, y) / len(self.weights)
        return replace(reached, energies=share.expand(len(self.weights)))


@fault
class RelaxedOutput(LinearModel):
    """The output is not clamped: it relaxes half the way to the prediction."""

    def infer(self, x, y, settings):
        reached = super().infer(x, y, settings)
        *below, last = reached.activities
        return replace(reached, activities=[*below, (last + self.predict(x)) / 2])


@fault
class StandardisedInput(LinearModel):
    """The input is standardised on the way in."""

    def infer(self, x, y, settings):
        scaled = (x - x.mean(0)) / (x.std(0) + 1e-6)
        return super().infer(scaled, y, settings)


@fault
class SilentResidual(LinearModel):
    """The residual reported is always zero."""

    def infer(self, x, y, settings):
        reached = super().infer(x, y, settings)
        return replace(reached, residual=torch.zeros_like(reached.residual))


@fault
class BiasedGradients(LinearModel):
    """Every weight gradient carries a small constant."""

    def loss_gradients(self, x, y):
        return [gradient + 1e-2 for gradient in super().loss_gradients(x, y)]

    def energy_gradients(self, activities):
        return [gradient + 1e-2 for gradient in super().energy_gradients(activities)]


@fault
class ForgottenFactor(LinearModel):
    """Gradients of the loss are not averaged, and so seven times too large."""

    def loss_gradients(self, x, y):
        return [7 * gradient for gradient in super().loss_gradients(x, y)]


@fault
class ShiftedPrediction(LinearModel):
    """The prediction carries a constant."""

    def predict(self, x):
        return super().predict(x) + 0.1


@fault
class NeverConverged(LinearModel):
    """Inference says that it has not converged, and miscounts its steps."""

    def infer(self, x, y, settings):
        return replace(super().infer(x, y, settings), converged=False, steps=10**9)


@fault
class LossForEnergy(LinearModel):
    """The energy's Hessian is the loss's: the movement of the equilibrium is left out."""

    def energy_hessian(self, activities, precision=None, residual=None):
        return self.loss_hessian(activities[0], activities[-1])


@fault
class EnergyForLoss(LinearModel):
    """The loss's Hessian is the energy's."""

    def loss_hessian(self, x, y, precision=None):
        reached = self.infer(x, y, ExactInference())
        return self.energy_hessian([*reached.activities[:-1], y])


@fault
class GaussNewton(WithDistortedHessians):
    """The Hessians are Gauss-Newton matrices: no negative curvature."""

    def distort(self, product, vectors):
        whole = product(torch.eye(vectors.shape[1], dtype=vectors.dtype))
        values, basis = torch.linalg.eigh(whole)
        return vectors @ (basis * values.clamp(min=0)) @ basis.T


@fault
class NotANumber(LinearModel):
    """One sample's error is not a number."""

    def infer(self, x, y, settings):
        reached = super().infer(x, y, settings)
        return replace(reached, energies=reached.energies * float("nan"))


@fault
class WrongShape(LinearModel):
    """Gradients come transposed."""

    def energy_gradients(self, activities):
        return [gradient.T for gradient in super().energy_gradients(activities)]
