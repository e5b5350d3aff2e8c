"""Backends whose Hessians have one deliberate mistake each, around the correct ones."""

from __future__ import annotations

from dataclasses import replace

import torch

from pcbench.backends.torch import TorchBackend
from pcbench.backends.torch.hessians import ImplicitEnergyHessian
from pcbench.contract import Backend, Hessian
from tests.cases.faulty.catalogued import as_backends

HESSIAN_FAULTS: dict[str, type[Backend]] = as_backends(
    "NotSymmetric",
    "ProductsTooShort",
    "UnrolledOneStepTooFew",
)
"""Those of the audit's catalogue, and more."""


def fault(backend: type[TorchBackend]) -> type[TorchBackend]:
    """Put a backend into the catalogue."""
    HESSIAN_FAULTS[backend.__name__] = backend
    return backend


class WithEnergyHessian(TorchBackend):
    """Correct but for the way in which the energy's Hessian is multiplied by."""

    hessian: type[ImplicitEnergyHessian]

    def build(self, network, parameters):
        model = super().build(network, parameters)

        def energy_hessian(activities, precision=None, residual=None):
            return self.hessian(model.layers, activities, precision, residual)

        model.energy_hessian = energy_hessian
        return model


class Without(ImplicitEnergyHessian):
    def _solve(self, right):
        return [torch.zeros_like(part) for part in right]


@fault
class InnerSolveLeftOut(WithEnergyHessian):
    """The equilibrium does not move with the weights, and nothing is said of it."""

    hessian = Without


class TenPercentOff(ImplicitEnergyHessian):
    def _solve(self, right):
        solution = [0.9 * part for part in super()._solve(right)]
        self.residual = 0.1
        return solution


@fault
class SolvedToTenPercent(WithEnergyHessian):
    """The inner system is solved to 10 %, and that is said."""

    hessian = TenPercentOff


class Silent(TenPercentOff):
    def _solve(self, right):
        solution = super()._solve(right)
        self.residual = 0.0
        return solution


@fault
class SolvedToTenPercentInSilence(WithEnergyHessian):
    """The inner system is solved to 10 %, and that is not said."""

    hessian = Silent


class CrossTermMissing(ImplicitEnergyHessian):
    def __init__(self, layers, activities, *rest):
        super().__init__(layers, activities, *rest)
        self._above = [z.unsqueeze(-3) for z in activities[1:]]

    def _solve(self, right):
        self._moves = super()._solve(right)
        return self._moves

    def multiply(self, directions):
        found = super().multiply(directions)
        for layer, dz in enumerate(self._moves, start=1):
            tangent = self._tangents[layer]
            q = tangent._to_affine(self._above[layer] - tangent.value)
            moved = dz if tangent.inner is None else tangent.inner * dz
            forgotten = tangent.layer.affine.weight_gradient(moved, q)
            found[layer] = found[layer] + forgotten / self._x.shape[-2]
        return found


@fault
class MissingCrossTerm(WithEnergyHessian):
    """Of the product rule for ``q uᵀ`` the second term is forgotten."""

    hessian = CrossTermMissing


def straightened(phi):
    """Return an activation that goes on as straight as it is where it is asked for."""

    def straight(a):
        here = a.detach()
        value, slope = phi(here)
        return value + slope * (a - here), slope

    return phi and straight


class Straight(ImplicitEnergyHessian):
    def __init__(self, layers, *rest):
        straight = [
            replace(layer, before=straightened(layer.before), after=straightened(layer.after))
            for layer in layers
        ]
        super().__init__(straight, *rest)


@fault
class NoSecondDerivative(WithEnergyHessian):
    """The second derivative of the activation is forgotten."""

    hessian = Straight


class Multiplied(Hessian):
    residual = 0.0

    def __init__(self, multiply):
        self.product = multiply

    def product(self, vectors):
        raise NotImplementedError


class WithProducts(TorchBackend):
    """Correct but for what becomes of the products of both Hessians."""

    def change(self, model, product, vectors):
        raise NotImplementedError

    def build(self, network, parameters):
        model = super().build(network, parameters)
        for name in ("loss_hessian", "energy_hessian"):
            setattr(model, name, self._changed(model, getattr(model, name)))
        return model

    def _changed(self, model, make):
        def hessian(*arguments):
            product = make(*arguments).product
            return Multiplied(lambda vectors: self.change(model, product, vectors))

        return hessian


@fault
class TransposedBlock(WithProducts):
    """The block of a square weight comes out transposed."""

    def change(self, model, product, vectors):
        found, start = product(vectors).clone(), 0
        for weight in model.weights:
            rows, columns = weight.shape
            if rows == columns:
                block = found[:, start : start + weight.numel()]
                square = block.reshape(-1, rows, columns).mT
                found[:, start : start + weight.numel()] = square.reshape(block.shape)
            start += weight.numel()
        return found


@fault
class NoNumbers(WithProducts):
    """One entry of every product is not a number."""

    def change(self, model, product, vectors):
        found = product(vectors).clone()
        found[:, 0] = torch.nan
        return found


@fault
class NoEnergyNumbers(WithEnergyHessian):
    """The energy's products are not numbers, the loss's are."""

    class hessian(ImplicitEnergyHessian):  # noqa: N801 - an attribute of the class above
        def multiply(self, directions):
            return [torch.nan * part for part in super().multiply(directions)]


@fault
class ShiftedMatrix(WithProducts):
    """Many vectors at once are multiplied by another matrix than few."""

    def change(self, model, product, vectors):
        shift = 3.0 if len(vectors) > 8 else 0.0
        return product(vectors) + shift * vectors


@fault
class ShiftedUnlessTwo(WithProducts):
    """Any number of vectors but two is multiplied by another matrix."""

    def change(self, model, product, vectors):
        shift = 0.0 if len(vectors) == 2 else 0.5
        return product(vectors) + shift * vectors


@fault
class OneSign(WithProducts):
    """The Hessians have the wrong sign."""

    def change(self, model, product, vectors):
        return -product(vectors)


@fault
class NoNegativeCurvature(WithProducts):
    """The Hessians are their positive semidefinite parts, as Gauss-Newton matrices are."""

    def change(self, model, product, vectors):
        values, basis = torch.linalg.eigh(product(torch.eye(vectors.shape[1], dtype=vectors.dtype)))
        return vectors @ (basis * values.clamp(min=0)) @ basis.T


class WithLastGradient(TorchBackend):
    """Correct but for the energy's gradient in the last layer."""

    factor: float

    def build(self, network, parameters):
        model = super().build(network, parameters)
        honest = model.energy_gradients

        def energy_gradients(activities, precision=None):
            *others, last = honest(activities)
            return [*others, self.factor * last]

        model.energy_gradients = energy_gradients
        return model


@fault
class DeadUnits(WithLastGradient):
    """It is halved."""

    factor = 0.5


@fault
class NoEscape(WithLastGradient):
    """It has the wrong sign: nothing leaves the origin."""

    factor = -1.0


@fault
class OffTheSaddle(TorchBackend):
    """All gradients are off by a constant: no point is critical."""

    def build(self, network, parameters):
        model = super().build(network, parameters)
        for name in ("loss_gradients", "energy_gradients"):
            setattr(model, name, self._off(getattr(model, name)))
        return model

    @staticmethod
    def _off(honest):
        return lambda *arguments: [gradient + 0.1 for gradient in honest(*arguments)]
