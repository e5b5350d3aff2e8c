"""Mistakes in Hessians."""

from __future__ import annotations

from typing import Any

import numpy as np

from pcbench.audit.tables import Product, Question, Vectors, faults
from pcbench.contract import ExactInference, GaussNewtonInference
from pcbench.contract.parts import Part


def _energy_hessian(q: Question) -> Any:
    """Infer, and take the energy's Hessian for the loss's."""
    engine = ExactInference() if q.network.is_linear else GaussNewtonInference()
    if engine.capability not in q.model.backend.capabilities:
        return q.ask()
    reached = q.also("infer", x=q.x, y=q.y, settings=engine)
    return q.also("energy_hessian", activities=[*reached.activities[:-1], q.y])


def _layer_by_layer(q: Question) -> Any:
    def mistake(product: Product, vectors: Vectors) -> Any:
        found = np.zeros_like(product(vectors))
        for columns in _blocks(q):
            found[..., columns] = product(_part(vectors, columns))[..., columns]
        return found

    return q.multiplied(mistake)


def _positive_part(product: Product, vectors: Vectors) -> Any:
    """Make the whole matrix, and leave its negative part out."""
    whole = product(np.eye(vectors.shape[-1]))
    values, basis = np.linalg.eigh((whole + np.swapaxes(whole, -1, -2)) / 2)
    if (values >= 0).all():
        return product(vectors)
    cut = basis * values.clip(min=0)[..., None, :]
    return vectors @ cut @ np.swapaxes(basis, -1, -2)


def _last_block_halved(q: Question) -> Any:
    columns = _blocks(q)[q.network.n_layers - 1]

    def mistake(product: Product, vectors: Vectors) -> Any:
        found = np.array(product(vectors))
        found[..., columns] -= product(_part(vectors, columns))[..., columns] / 2
        return found

    return q.multiplied(mistake)


def _column_major(q: Question) -> Any:
    """Put every entry in the place of another."""
    places = zip(_blocks(q), _shapes(q), strict=True)
    order = np.concatenate(
        [np.arange(b.start, b.stop).reshape(shape).ravel(order="F") for b, shape in places]
    )
    inverse = np.argsort(order)
    return q.multiplied(lambda product, vectors: product(vectors[..., inverse])[..., order])


def _part(vectors: Vectors, columns: slice) -> Vectors:
    """Return vectors that are zero but in some columns."""
    alone = np.zeros_like(vectors)
    alone[..., columns] = vectors[..., columns]
    return alone


def _shapes(q: Question) -> list[tuple[int, ...]]:
    return [*q.network.shapes, *q.network.bias_shapes]


def _blocks(q: Question) -> list[slice]:
    """Return where each array of parameters stands among all of them."""
    sizes = [int(np.prod(shape)) for shape in _shapes(q)]
    ends = np.cumsum(sizes)
    return [slice(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]


FAULTS = (
    *faults(Part.LOSS_HESSIAN, "loss_hessian")(
        EnergyForLossHessian=("The loss's Hessian is the energy's.", _energy_hessian),
        LossHessianSummed=(
            "The loss's Hessian is summed over the batch, where a mean is due.",
            lambda q: q.multiplied(lambda product, vectors: q.samples * product(vectors)),
        ),
        LossHessianOfOneBlock=("The loss's Hessian has no blocks between layers.", _layer_by_layer),
    ),
    *faults(Part.ENERGY_HESSIAN, "energy_hessian")(
        LossForEnergyHessian=(
            "The energy's Hessian is the loss's: the movement of the equilibrium is left out.",
            lambda q: q.also("loss_hessian", x=q.activities[0], y=q.activities[-1]),
        ),
        NoNegativeCurvature=(
            "The energy's Hessian is cut off at zero from below, as a Gauss-Newton matrix would "
            "be.",
            lambda q: q.multiplied(_positive_part),
        ),
        EnergyHessianOfOneSign=(
            "The energy's Hessian has the wrong sign.",
            lambda q: q.multiplied(lambda product, vectors: -product(vectors)),
        ),
        LastBlockHalved=("The block of the last weights has a half too many.", _last_block_halved),
    ),
    *faults(Part.ENERGY_HESSIAN, "loss_hessian", "energy_hessian")(
        ColumnMajor=(
            "Weights are flattened column by column, where the contract has them row by row.",
            _column_major,
        ),
        NotSymmetric=(
            "Products leak into the parameter after each: an index off by one in the scatter.",
            lambda q: q.multiplied(
                lambda product, vectors: product(vectors) + 0.01 * np.roll(vectors, 1, axis=-1)
            ),
        ),
        DependsOnCompany=(
            "A product depends on how many vectors are multiplied at once: a mean over the wrong "
            "axis.",
            lambda q: q.multiplied(
                lambda product, vectors: product(vectors) * (1 + 0.01 / vectors.shape[-2])
            ),
        ),
        ProductsTooShort=(
            "Products lack the last parameter.",
            lambda q: q.multiplied(lambda product, vectors: product(vectors)[..., :-1]),
        ),
    ),
    *faults(Part.UNROLLED_HESSIAN, "unrolled_hessian")(
        UnrolledOneStepTooFew=(
            "The Hessian during inference is that of the step before.",
            lambda q: q.ask(steps=max(q.steps - 1, 0)),
        ),
        UnrolledAtEquilibrium=(
            "The Hessian during inference is that after it, however few steps were taken.",
            lambda q: q.ask(steps=q.steps + 50),
        ),
        UnrolledOfAnotherStep=(
            "The Hessian during inference is that of steps twice as long.",
            lambda q: q.ask(step=2 * q.step),
        ),
    ),
)
