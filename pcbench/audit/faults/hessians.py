"""Mistakes in Hessians."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from pcbench.audit.faults._products import Multiplied, Product, Vectors
from pcbench.audit.wrappers import FaultyModel
from pcbench.contract import ExactInference, GaussNewtonInference, Hessian
from pcbench.contract.parts import Part


class _OfLoss(FaultyModel):
    """The loss's Hessian, with a change."""

    part = Part.LOSS_HESSIAN

    def loss_hessian(self, x: Any, y: Any, precision: Any = None) -> Hessian[Any]:
        """Change its products."""
        samples, honest = self.host(x).shape[-2], super().loss_hessian(x, y, precision)
        return Multiplied(self, honest, lambda product, v: self.change(product, v, samples))

    @abstractmethod
    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Return products with the mistake."""


class _OfEnergy(FaultyModel):
    """The energy's Hessian, with a change."""

    part = Part.ENERGY_HESSIAN

    def energy_hessian(
        self, activities: Sequence[Any], precision: Any = None, residual: float | None = None
    ) -> Hessian[Any]:
        """Change its products."""
        samples = self.host(activities[0]).shape[-2]
        honest = super().energy_hessian(activities, precision, residual)
        return Multiplied(self, honest, lambda product, v: self.change(product, v, samples))

    @abstractmethod
    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Return products with the mistake."""


class _OfBoth(_OfLoss, _OfEnergy):
    """Both Hessians, with the same change."""

    part = Part.ENERGY_HESSIAN


class EnergyForLossHessian(FaultyModel):
    """The loss's Hessian is the energy's."""

    part = Part.LOSS_HESSIAN

    def loss_hessian(self, x: Any, y: Any, precision: Any = None) -> Hessian[Any]:
        """Infer, and take the wrong one of the two."""
        engine = ExactInference() if self.network.is_linear else GaussNewtonInference()
        if engine.capability not in self.backend.capabilities:
            return super().loss_hessian(x, y, precision)
        reached = self.inner.infer(x, y, engine)
        return self.inner.energy_hessian([*reached.activities[:-1], y])


class LossHessianSummed(_OfLoss):
    """The loss's Hessian is summed over the batch, where a mean is due."""

    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Multiply by the size of the batch."""
        return samples * product(vectors)


class LossHessianOfOneBlock(_OfLoss):
    """The loss's Hessian has no blocks between layers."""

    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Multiply layer by layer."""
        return self._by_layer(product, vectors)

    def _by_layer(self, product: Product, vectors: Vectors) -> Any:
        found = np.zeros_like(product(vectors))
        for columns in _blocks(self):
            alone = np.zeros_like(vectors)
            alone[..., columns] = vectors[..., columns]
            found[..., columns] = product(alone)[..., columns]
        return found


class LossForEnergyHessian(FaultyModel):
    """The energy's Hessian is the loss's: the movement of the equilibrium is left out."""

    part = Part.ENERGY_HESSIAN

    def energy_hessian(
        self, activities: Sequence[Any], precision: Any = None, residual: float | None = None
    ) -> Hessian[Any]:
        """Take the wrong one of the two."""
        return self.inner.loss_hessian(activities[0], activities[-1])


class NoNegativeCurvature(_OfEnergy):
    """The energy's Hessian is cut off at zero from below, as a Gauss-Newton matrix would be."""

    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Make the whole matrix, and leave its negative part out."""
        whole = product(np.eye(vectors.shape[-1]))
        values, basis = np.linalg.eigh((whole + np.swapaxes(whole, -1, -2)) / 2)
        if (values >= 0).all():
            return product(vectors)
        cut = basis * values.clip(min=0)[..., None, :]
        return vectors @ cut @ np.swapaxes(basis, -1, -2)


class EnergyHessianOfOneSign(_OfEnergy):
    """The energy's Hessian has the wrong sign."""

    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Turn it round."""
        return -product(vectors)


class LastBlockHalved(_OfEnergy):
    """The block of the last weights has a half too many."""

    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Halve it."""
        columns = _blocks(self)[self.network.n_layers - 1]
        alone = np.zeros_like(vectors)
        alone[..., columns] = vectors[..., columns]
        found = np.array(product(vectors))
        found[..., columns] -= product(alone)[..., columns] / 2
        return found


class ColumnMajor(_OfBoth):
    """Weights are flattened column by column, where the contract has them row by row."""

    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Put every entry in the place of another."""
        order = np.concatenate(
            [
                np.arange(columns.start, columns.stop).reshape(shape).ravel(order="F")
                for columns, shape in zip(_blocks(self), _shapes(self), strict=True)
            ]
        )
        inverse = np.argsort(order)
        return product(vectors[..., inverse])[..., order]


class NotSymmetric(_OfBoth):
    """Products leak into the parameter after each: an index off by one in the scatter."""

    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Add a hundredth of the vector, moved by one."""
        return product(vectors) + 0.01 * np.roll(vectors, 1, axis=-1)


class DependsOnCompany(_OfBoth):
    """A product depends on how many vectors are multiplied at once: a mean over the wrong axis."""

    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Make products larger, the fewer there are."""
        return product(vectors) * (1 + 0.01 / vectors.shape[-2])


class ProductsTooShort(_OfBoth):
    """Products lack the last parameter."""

    def change(self, product: Product, vectors: Vectors, samples: int) -> Any:
        """Cut it off."""
        return product(vectors)[..., :-1]


class UnrolledOneStepTooFew(FaultyModel):
    """The Hessian during inference is that of the step before."""

    part = Part.UNROLLED_HESSIAN

    def unrolled_hessian(self, x: Any, y: Any, steps: int, step: float) -> Hessian[Any]:
        """Take a step less."""
        return super().unrolled_hessian(x, y, max(steps - 1, 0), step)


class UnrolledAtEquilibrium(FaultyModel):
    """The Hessian during inference is that after it, however few steps were taken."""

    part = Part.UNROLLED_HESSIAN

    def unrolled_hessian(self, x: Any, y: Any, steps: int, step: float) -> Hessian[Any]:
        """Take many steps."""
        return super().unrolled_hessian(x, y, steps + 50, step)


class UnrolledOfAnotherStep(FaultyModel):
    """The Hessian during inference is that of steps twice as long."""

    part = Part.UNROLLED_HESSIAN

    def unrolled_hessian(self, x: Any, y: Any, steps: int, step: float) -> Hessian[Any]:
        """Double them."""
        return super().unrolled_hessian(x, y, steps, 2 * step)


def _shapes(model: FaultyModel) -> list[tuple[int, ...]]:
    return [*model.network.shapes, *model.network.bias_shapes]


def _blocks(model: FaultyModel) -> list[slice]:
    """Return where each array of parameters stands among all of them."""
    sizes = [int(np.prod(shape)) for shape in _shapes(model)]
    ends = np.cumsum(sizes)
    return [slice(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]


FAULTS = (
    EnergyForLossHessian,
    LossHessianSummed,
    LossHessianOfOneBlock,
    LossForEnergyHessian,
    NoNegativeCurvature,
    EnergyHessianOfOneSign,
    LastBlockHalved,
    ColumnMajor,
    NotSymmetric,
    DependsOnCompany,
    ProductsTooShort,
    UnrolledOneStepTooFew,
    UnrolledAtEquilibrium,
    UnrolledOfAnotherStep,
)
