"""Backends with one mistake each, for points in parallel: their weights have a replica axis."""

import torch

from pcbench.backends.torch import LinearModel
from tests.cases.faulty.backends import Distorted, FaultyBackend

FAULTS = {}


def fault(model):
    """Put a backend that builds this model into the catalogue."""
    attributes = {"model": model, "__doc__": model.__doc__}
    FAULTS[model.__name__] = type(model.__name__, (FaultyBackend,), attributes)
    return model


@fault
class LossThroughout(LinearModel):
    """What is called the energy is the loss: its saddles are not all strict."""

    def energies(self, activities, precision=None):
        loss = self.loss(activities[0], activities[-1])
        return torch.stack([torch.zeros_like(loss), loss], dim=-1)

    def energy_gradients(self, activities, precision=None):
        return self.loss_gradients(activities[0], activities[-1])

    def energy_hessian(self, activities, precision=None, residual=None):
        return self.loss_hessian(activities[0], activities[-1])


@fault
class LossCurvature(LinearModel):
    """The Hessian is the loss's."""

    def energy_hessian(self, activities, precision=None, residual=None):
        return self.loss_hessian(activities[0], activities[-1])


@fault
class NoNegativeCurvature(LinearModel):
    """The Hessian is cut off at zero from below."""

    def energy_hessian(self, activities, precision=None, residual=None):
        def cut(product, vectors):
            values, basis = torch.linalg.eigh(product(vectors))  # all unit vectors are asked for
            return (basis * values.clamp(min=0).unsqueeze(-2)) @ basis.mT

        return Distorted(super().energy_hessian(activities), cut)


@fault
class UnderstatedCurvature(LinearModel):
    """The Hessian is a fifth too small: a search that it leads arrives all the same."""

    def energy_hessian(self, activities, precision=None, residual=None):
        return Distorted(
            super().energy_hessian(activities), lambda product, vectors: 0.8 * product(vectors)
        )


@fault
class NoCurvature(LinearModel):
    """The Hessian is zero, and so no step is ever taken."""

    def energy_hessian(self, activities, precision=None, residual=None):
        return Distorted(super().energy_hessian(activities), lambda _, vectors: 0 * vectors)


@fault
class BiasedGradients(LinearModel):
    """Every gradient carries a small constant."""

    def energy_gradients(self, activities, precision=None):
        return [gradient + 1e-3 for gradient in super().energy_gradients(activities)]


@fault
class MissingHalf(LinearModel):
    """The energies lack the factor of one half."""

    def energies(self, activities, precision=None):
        return 2 * super().energies(activities)


@fault
class MeanOverOutputs(LinearModel):
    """The loss is averaged over outputs as well."""

    def loss(self, x, y, precision=None):
        return super().loss(x, y) / y.shape[-1]
