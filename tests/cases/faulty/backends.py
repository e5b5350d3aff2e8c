"""Backends with one deliberate mistake each, the kind that people make, around the correct one.

Those of the audit's catalogue that a linear network can meet, and more: every class here is a
PyTorch backend that is right but for its docstring.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from pcbench.backends.torch import LinearModel, TorchBackend
from pcbench.contract import Backend, GradientInference, Hessian
from tests.cases.faulty.catalogued import as_backends


class FaultyBackend(TorchBackend):
    """Correct but for the model that it builds."""

    model: ClassVar[type[LinearModel]]

    def build(self, network, weights):
        return self.model(super().build(network, weights).weights)


FAULTS: dict[str, type[Backend]] = as_backends(
    "NoIdentity",
    "SumFromOne",
    "SumFromThree",
    "TransposedJacobian",
    "WrongSign",
    "FiveSteps",
    "HiddenLayersSwapped",
    "OutputRelaxes",
    "StandardisedInput",
    "OutputEnergyOnly",
    "EnergiesWithoutHalf",
    "EnergyGradientsSummed",
    "LossAveragedOverOutputs",
    "OffsetPrediction",
    "SilentResidual",
    "LossForEnergyHessian",
    "EnergyForLossHessian",
)


def fault(model: type[LinearModel]) -> type[LinearModel]:
    """Put a backend that builds this model into the catalogue."""
    attributes = {"model": model, "__doc__": model.__doc__}
    FAULTS[model.__name__] = type(model.__name__, (FaultyBackend,), attributes)
    return model


@fault
class GivesUp(LinearModel):
    """Inference stops after 5 steps and says so."""

    def infer(self, x, y, settings):
        return super().infer(x, y, GradientInference(step=0.1, max_steps=5, residual=1e-12))


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
class InferenceReportsLoss(LinearModel):
    """The energy reported is the one before inference, twice over."""

    def infer(self, x, y, settings):
        reached = super().infer(x, y, settings)
        share = 2 * self.loss(x, y) / len(self.weights)
        return replace(reached, energies=share.expand(len(self.weights)))


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
class NeverConverged(LinearModel):
    """Inference says that it has not converged, and miscounts its steps."""

    def infer(self, x, y, settings):
        return replace(super().infer(x, y, settings), converged=False, steps=10**9)


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
