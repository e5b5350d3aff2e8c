"""Products of vectors with a Hessian, one after the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pcbench.backends.numpy.layers import Layer
from pcbench.backends.numpy.maps import Batch, Entries
from pcbench.backends.numpy.network import parameters_of
from pcbench.contract.model import Hessian


class ProductByProduct(Hessian[Batch]):
    """Takes vectors apart into parameters; subclasses multiply one.

    Parameters
    ----------
    layers
        ``f_1 … f_L``.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._shapes = [parameter.shape for parameter in parameters_of(layers)]
        self.residual = 0.0

    @abstractmethod
    def multiply(self, vector: list[Entries]) -> list[Entries]:
        """Multiply one vector, in the shapes of the parameters."""

    @np.errstate(all="ignore")
    def product(self, vectors: Float[np.ndarray, "K P"]) -> Float[np.ndarray, "K P"]:
        """Multiply every row."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])
        products = np.empty_like(vectors)
        for product, vector in zip(products, vectors, strict=True):
            parts = np.split(vector, ends[:-1])
            moved = self.multiply(
                [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]
            )
            product[:] = np.concatenate([part.ravel() for part in moved])
        return products
