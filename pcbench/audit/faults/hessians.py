"""Mistakes in Hessians."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from itertools import pairwise
from typing import Any

import numpy as np

from pcbench.audit.tables import Product, Question, Vectors, faults
from pcbench.contract import ExactInference, GaussNewtonInference
from pcbench.contract.parts import Part


def _energy_hessian(q: Question) -> Any:
    """The loss's Hessian is the energy's."""
    engine = ExactInference() if q.network.is_linear else GaussNewtonInference()
    if engine.capability not in q.model.backend.capabilities:
        return q.ask()
    reached = q.also("infer", x=q.x, y=q.y, settings=engine)
    return q.also("energy_hessian", activities=[*reached.activities[:-1], q.y])


def _products(mistake: Callable[[Question, Product, Vectors], Any]) -> Callable[[Question], Any]:
    """Make the products of a Hessian anew."""
    return wraps(mistake)(lambda q: q.multiplied(partial(mistake, q)))


@_products
def _layer_by_layer(q: Question, product: Product, vectors: Vectors) -> Any:
    """The loss's Hessian has no blocks between layers."""
    found = np.zeros_like(product(vectors))
    for columns in _blocks(q):
        found[..., columns] = product(_part(vectors, columns))[..., columns]
    return found


@_products
def _positive_part(_: Question, product: Product, vectors: Vectors) -> Any:
    """The energy's Hessian is cut off at zero from below, as a Gauss-Newton matrix would be."""
    whole = product(np.eye(vectors.shape[-1]))
    values, basis = np.linalg.eigh((whole + np.swapaxes(whole, -1, -2)) / 2)
    if (values >= 0).all():
        return product(vectors)
    cut = basis * values.clip(min=0)[..., None, :]
    return vectors @ cut @ np.swapaxes(basis, -1, -2)


@_products
def _last_block_halved(q: Question, product: Product, vectors: Vectors) -> Any:
    """The block of the last weights has a half too many."""
    columns = _blocks(q)[q.network.n_layers - 1]
    found = np.array(product(vectors))
    found[..., columns] -= product(_part(vectors, columns))[..., columns] / 2
    return found


@_products
def _column_major(q: Question, product: Product, vectors: Vectors) -> Any:
    """Weights are flattened column by column, where the contract has them row by row."""
    places = zip(_blocks(q), q.shapes, strict=True)
    order = np.concatenate(
        [np.arange(b.start, b.stop).reshape(shape).ravel(order="F") for b, shape in places]
    )
    return product(vectors[..., np.argsort(order)])[..., order]


def _part(vectors: Vectors, columns: slice) -> Vectors:
    """Return vectors that are zero but in some columns."""
    alone = np.zeros_like(vectors)
    alone[..., columns] = vectors[..., columns]
    return alone


def _blocks(q: Question) -> list[slice]:
    """Return where each array of parameters stands among all of them."""
    ends = np.cumsum([0, *map(np.prod, q.shapes)]).tolist()
    return [slice(*pair) for pair in pairwise(ends)]


FAULTS = (
    *faults(Part.LOSS_HESSIAN, "loss_hessian")(
        EnergyForLossHessian=_energy_hessian,
        LossHessianSummed=(
            "The loss's Hessian is summed over the batch, where a mean is due.",
            _products(lambda q, product, vectors: q.samples * product(vectors)),
        ),
        LossHessianOfOneBlock=_layer_by_layer,
    ),
    *faults(Part.ENERGY_HESSIAN, "energy_hessian")(
        LossForEnergyHessian=(
            "The energy's Hessian is the loss's: the movement of the equilibrium is left out.",
            lambda q: q.also("loss_hessian", x=q.activities[0], y=q.activities[-1]),
        ),
        NoNegativeCurvature=_positive_part,
        EnergyHessianOfOneSign=(
            "The energy's Hessian has the wrong sign.",
            _products(lambda q, product, vectors: -product(vectors)),
        ),
        LastBlockHalved=_last_block_halved,
    ),
    *faults(Part.ENERGY_HESSIAN, "loss_hessian", "energy_hessian")(
        ColumnMajor=_column_major,
        NotSymmetric=(
            "Products leak into the parameter after each: an index off by one in the scatter.",
            _products(lambda q, product, v: product(v) + 0.01 * np.roll(v, 1, axis=-1)),
        ),
        DependsOnCompany=(
            "A product depends on how many vectors are multiplied at once: a mean over the wrong "
            "axis.",
            _products(lambda q, product, v: product(v) * (1 + 0.01 / v.shape[-2])),
        ),
        ProductsTooShort=(
            "Products lack the last parameter.",
            _products(lambda q, product, vectors: product(vectors)[..., :-1]),
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
