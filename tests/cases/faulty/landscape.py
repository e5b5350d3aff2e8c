"""Backends whose mistakes show in a landscape alone, around the correct one.

Every class is right but for its docstring.
"""

from __future__ import annotations

from pcbench.backends.torch import LinearModel, TorchBackend
from pcbench.contract import Capability, GradientInference
from tests.cases.faulty.backends import FAULTS as LINEAR_FAULTS
from tests.cases.faulty.backends import Distorted, WithDistortedHessians
from tests.cases.faulty.engines import WithInference

ONE_BY_ONE = TorchBackend.capabilities - {Capability.REPLICAS}

LANDSCAPE_FAULTS: dict[str, type[TorchBackend]] = {}


def alone(backend: type[TorchBackend]) -> type[TorchBackend]:
    """Return the backend without replicas, which few of the mistakes were made for."""
    return type(backend.__name__, (backend,), {"capabilities": ONE_BY_ONE})


def fault(model: type[LinearModel]) -> type[LinearModel]:
    """Put a backend that builds this model of linear networks into the catalogue."""

    def build(self, network, weights):
        return model(TorchBackend.build(self, network, weights).weights)

    LANDSCAPE_FAULTS[model.__name__] = type(
        model.__name__, (TorchBackend,), {"build": build, "capabilities": ONE_BY_ONE}
    )
    return model


LANDSCAPE_FAULTS |= {name: alone(backend) for name, backend in LINEAR_FAULTS.items()}


@fault
class OneVectorShort(WithDistortedHessians):
    """Hessian products come without their last entry."""

    def distort(self, product, vectors):
        return product(vectors)[:, :-1]


@fault
class DependsOnCompany(WithDistortedHessians):
    """A Hessian product depends on how many vectors are multiplied together."""

    def distort(self, product, vectors):
        return product(vectors) * (1 + 0.01 / len(vectors))


@fault
class RememberedBatch(LinearModel):
    """Gradients are divided by the size of the largest batch there was, not by this one's."""

    largest = 1

    def _scale(self, x):
        RememberedBatch.largest = max(RememberedBatch.largest, len(x))
        return len(x) / RememberedBatch.largest

    def loss_gradients(self, x, y):
        scale = self._scale(x)
        return [scale * gradient for gradient in super().loss_gradients(x, y)]

    def energy_gradients(self, activities):
        scale = self._scale(activities[0])
        return [scale * gradient for gradient in super().energy_gradients(activities)]


NONLINEAR_FAULTS: dict[str, type[TorchBackend]] = {}


def nonlinear_fault(backend: type[TorchBackend]) -> type[TorchBackend]:
    """Put a backend that is wrong in any network into the catalogue."""
    NONLINEAR_FAULTS[backend.__name__] = backend
    return backend


@nonlinear_fault
class FewSteps(WithInference):
    """Inference is a few steps of gradient descent, whatever was asked for."""

    def infer(self, model, honest, x, y, settings, precision=None):
        return honest(x, y, GradientInference(step=0.1, max_steps=5, residual=1e-12))


class WithModel(TorchBackend):
    """Correct but for what ``spoil`` does to the model."""

    def spoil(self, model):
        raise NotImplementedError

    def build(self, network, parameters):
        model = super().build(network, parameters)
        self.spoil(model)
        return model


@nonlinear_fault
class TiltedGradients(WithModel):
    """Gradients of the loss carry a small constant."""

    def spoil(self, model):
        honest = model.loss_gradients
        model.loss_gradients = lambda x, y: [one + 1e-2 for one in honest(x, y)]


@nonlinear_fault
class TiltedForces(WithModel):
    """Gradients of the energy carry a small constant."""

    def spoil(self, model):
        honest = model.energy_gradients
        model.energy_gradients = lambda activities: [one + 1e-2 for one in honest(activities)]


@nonlinear_fault
class ScaledHessians(WithModel):
    """Hessians are one part in a thousand too large."""

    def spoil(self, model):
        def scaled(product, vectors):
            return 1.001 * product(vectors)

        loss, energy = model.loss_hessian, model.energy_hessian
        model.loss_hessian = lambda x, y: Distorted(loss(x, y), scaled)
        model.energy_hessian = lambda activities: Distorted(energy(activities), scaled)


@nonlinear_fault
class FrozenEquilibrium(WithModel):
    """The energy's Hessian forgets that activities move with the parameters."""

    def spoil(self, model):
        model.energy_hessian = lambda activities: model.loss_hessian(activities[0], activities[-1])


@nonlinear_fault
class MixedUpReplicas(WithModel):
    """The losses of replicas come in the opposite order."""

    def spoil(self, model):
        honest = model.loss
        model.loss = lambda x, y: honest(x, y).flip(0) if honest(x, y).dim() else honest(x, y)


@nonlinear_fault
class OneLossForAll(WithModel):
    """Replicas share one loss."""

    def spoil(self, model):
        honest = model.loss
        model.loss = lambda x, y: honest(x, y).mean()


@nonlinear_fault
class BoxedLoss(WithModel):
    """The loss comes with an axis of its own."""

    def spoil(self, model):
        honest = model.loss
        model.loss = lambda x, y: honest(x, y)[..., None]
