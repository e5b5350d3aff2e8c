"""Many vectors at once: in blocks that fit the cache, and split into layers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.layer import Layer, parameters_of
from pcbench.backends.torch.threads import threads_that_pay
from pcbench.contract.model import Hessian

# Vectors are multiplied in blocks whose largest intermediate stays near this many numbers, which
# keeps a block in cache on a CPU and bounds memory on any device.
_BLOCK_NUMBERS = 4_000_000

Vectors = Float[Tensor, "*#R K P"]


class BlockedHessian(Hessian[Tensor]):
    """Multiplies block by block; subclasses multiply one.

    Parameters
    ----------
    layers
        ``f_1 … f_L``.
    x
        The batch, ``(*R, N, d_0)``.

    Raises
    ------
    BackendUnavailableError
        If convolutions have replicas.
    """

    def __init__(self, layers: Sequence[Layer], x: Float[Tensor, "*#R N d_0"]) -> None:
        self._layers, self._x = [layer.with_directions() for layer in layers], x
        self._replicas = layers[0].affine.replicas
        self._axis = len(self._replicas)  # of directions
        self._shapes = [part.shape[self._axis :] for part in parameters_of(layers)]
        widths = [layer.affine.widths for layer in layers]
        self._numbers = self._replicas.numel() * max(
            sum(shape.numel() for shape in self._shapes), x.shape[-2] * max(map(max, widths))
        )

    @abstractmethod
    def multiply(self, directions: list[Tensor]) -> Sequence[Tensor]:
        """Multiply a block of vectors, split into parameters: ``(*R, K, *shape)`` each."""

    def product(self, vectors: Vectors) -> Vectors:
        """Multiply every row."""
        if not vectors.shape[-2]:
            return vectors
        sizes = [shape.numel() for shape in self._shapes]
        products = []
        rows = self._x.shape[-2] * vectors.shape[-2]
        with threads_that_pay(self._layers, rows, self._x.device):
            for block in torch.split(vectors, max(1, _BLOCK_NUMBERS // self._numbers), dim=-2):
                directions = [
                    part.reshape(*part.shape[:-1], *shape)
                    for part, shape in zip(
                        torch.split(block, sizes, dim=-1), self._shapes, strict=True
                    )
                ]
                moved = self.multiply(directions)
                flat = [
                    part.reshape(*block.shape[:-1], size)
                    for part, size in zip(moved, sizes, strict=True)
                ]
                products.append(torch.cat(flat, dim=-1))
        return torch.cat(products, dim=-2)
