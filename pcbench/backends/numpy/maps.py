"""The affine part of a layer, written down as the matrix that it is.

A convolution is a matrix too, mostly of zeros: here it is assembled, entry by entry, from its
definition, and from then on is no different from a fully connected layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
from jaxtyping import Inexact, Int

from pcbench.networks import Convolution, Layer

Batch = Inexact[np.ndarray, "N _d"]
# Of a fully connected layer an array, of a convolution mostly zeros.
Matrix: TypeAlias = Inexact[np.ndarray, "_rows _columns"] | sp.sparray
Entries = Inexact[np.ndarray, "..."]


@dataclass(frozen=True, slots=True)
class AffineMap:
    """``z ↦ A z + b``, where every entry of ``A`` and ``b`` is a parameter, or zero.

    Attributes
    ----------
    shape
        The layer, as the specification has it.
    weight, bias
        Its parameters; ``None`` for no bias.
    matrix
        ``A``, ``(d_out, d_in)``, before pooling; sparse if it is that of a convolution.
    offset
        ``b`` at every output, or zeros.
    """

    shape: Layer
    weight: Entries
    bias: Entries | None
    matrix: Inexact[np.ndarray, "d_out d_in"] | sp.csr_array
    offset: Inexact[np.ndarray, " d_out"]

    @classmethod
    def of(cls, shape: Layer, weight: Entries, bias: Entries | None) -> AffineMap:
        """Assemble the matrix."""
        if isinstance(shape, Convolution):
            rows, columns, which = entries(shape)
            outputs, places = shape.channels * _places(shape), _places(shape)
            matrix = sp.csr_array(
                (weight.ravel()[which], (rows, columns)), shape=(outputs, shape.inputs)
            )
        else:
            matrix, outputs, places = weight, shape.outputs, 1
        offset = np.zeros(outputs) if bias is None else np.repeat(bias, places)
        return cls(shape, weight, bias, matrix, offset)

    def along(self, weight: Entries, bias: Entries | None) -> AffineMap:
        """Return the map of other parameters: of a direction of them, as well."""
        return self.of(self.shape, weight, bias)

    def __call__(self, z: Batch) -> Batch:
        """``A z + b``, for every row."""
        value: Batch = z @ self.matrix.T + self.offset
        return value

    def push(self, v: Batch) -> Batch:
        """``A v``."""
        pushed: Batch = v @ self.matrix.T
        return pushed

    def pull(self, q: Batch) -> Batch:
        """``Aᵀ q``."""
        pulled: Batch = q @ self.matrix
        return pulled

    def weight_gradient(self, s: Batch, q: Batch) -> Entries:
        """``Σ_n q_nᵀ ∂(A s_n)/∂W``, in the weight's shape.

        An entry of ``A`` that is the weight ``w`` adds ``q_row s_column`` to the derivative in
        ``w``.
        """
        if not isinstance(self.shape, Convolution):
            dense: Entries = q.T @ s
            return dense
        rows, columns, which = entries(self.shape)
        each = np.zeros(len(rows), np.result_type(q, s))
        for sample_q, sample_s in zip(q, s, strict=True):
            each += sample_q[rows] * sample_s[columns]
        gradient = np.zeros(self.weight.size, each.dtype)
        np.add.at(gradient, which, each)
        in_shape: Entries = gradient.reshape(self.weight.shape)
        return in_shape

    def bias_gradient(self, q: Batch) -> Entries:
        """``Σ_n q_n``, and over all places that share a bias."""
        if isinstance(self.shape, Convolution):
            q = q.reshape(len(q), self.shape.channels, _places(self.shape)).sum(2)
        gradient: Entries = q.sum(0)
        return gradient


@lru_cache(maxsize=32)
def entries(
    shape: Convolution,
) -> tuple[Int[np.ndarray, " K"], Int[np.ndarray, " K"], Int[np.ndarray, " K"]]:
    """Where the matrix of a convolution has weights: rows, columns, and which weight it is.

    ``out[o, i, j] = Σ_{c, p, q} weight[o, c, p, q] image[c, i + p - m, j + q - m]``, where ``m =
    (kernel - 1)/2`` is the margin; outside of the image there is nothing.
    """
    _, height, width = shape.image
    o, c, p, q, i, j = np.indices((*shape.weight_shape, height, width)).reshape(6, -1)
    margin = (shape.kernel - 1) // 2
    down, across = i + p - margin, j + q - margin
    inside = (down >= 0) & (down < height) & (across >= 0) & (across < width)
    rows = np.ravel_multi_index((o, i, j), (shape.channels, height, width))[inside]
    columns = np.ravel_multi_index((c[inside], down[inside], across[inside]), shape.image)
    which = np.ravel_multi_index((o, c, p, q), shape.weight_shape)[inside]
    return rows, columns, which


def _places(shape: Convolution) -> int:
    return prod(shape.image[1:])
