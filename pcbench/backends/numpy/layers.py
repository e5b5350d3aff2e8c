"""One layer at the activities of a batch: its value and its derivatives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from pcbench.backends.numpy.activation import IDENTITY, Phi
from pcbench.backends.numpy.maps import AffineMap, Batch, Entries, Matrix
from pcbench.backends.numpy.pooling import winners
from pcbench.networks import Convolution


@dataclass(frozen=True, slots=True)
class Layer:
    """``f(z) = pool(φ_out(A φ_in(z) + b))``, where at most one ``φ`` is not the identity.

    Attributes
    ----------
    affine
        ``A`` and ``b``.
    before, after
        ``φ_in`` (the ``pre`` convention) and ``φ_out`` (``post``).
    """

    affine: AffineMap
    before: Phi = IDENTITY
    after: Phi = IDENTITY

    @property
    def pools(self) -> bool:
        """Whether there is a choice of winners."""
        shape = self.affine.shape
        return isinstance(shape, Convolution) and shape.pool > 1

    @property
    def is_affine(self) -> bool:
        """Whether it has the same derivative everywhere."""
        return self.before is self.after is IDENTITY and not self.pools

    def along(self, weight: Entries, bias: Entries | None) -> Layer:
        """Return the layer with other parameters."""
        return replace(self, affine=self.affine.along(weight, bias))

    def at(self, z: Batch) -> LayerAt:
        """Evaluate at a batch of inputs."""
        seen = self.before.value(z)
        potential = self.affine(seen)
        reached = self.after.value(potential)
        shape, won = self.affine.shape, None
        if isinstance(shape, Convolution) and shape.pool > 1:
            won = winners(shape, reached)
            reached = np.take_along_axis(reached, won, axis=1)
        return LayerAt(self, z, seen, potential, reached, won)


@dataclass(frozen=True, slots=True)
class LayerAt:
    """A layer at a batch of inputs.

    Attributes
    ----------
    layer
        Which.
    z
        Its inputs.
    seen
        ``s = φ_in(z)``.
    potential
        ``a = A s + b``.
    value
        ``f(z)``.
    won
        For each output the entry of ``φ_out(a)`` that it is; ``None`` where nothing is pooled.
    """

    layer: Layer
    z: Batch
    seen: Batch
    potential: Batch
    value: Batch
    won: Int[np.ndarray, "N d_out"] | None

    @property
    def inner(self) -> Batch:
        """``φ_in'(z)``."""
        return self.layer.before.slope(self.z)

    @property
    def outer(self) -> Batch:
        """``φ_out'(a)``."""
        return self.layer.after.slope(self.potential)

    def pool(self, v: Batch) -> Batch:
        """Let the winners through."""
        return v if self.won is None else np.take_along_axis(v, self.won, axis=1)

    def unpool(self, e: Batch) -> Batch:
        """Put every entry where its winner is, and zeros elsewhere."""
        if self.won is None:
            return e
        spread = np.zeros(self.potential.shape, e.dtype)
        np.put_along_axis(spread, self.won, e, axis=1)
        return spread

    def to_potential(self, e: Batch) -> Batch:
        """``q = (∂f/∂a)ᵀ e``."""
        q: Batch = self.outer * self.unpool(e)
        return q

    def pull(self, e: Batch) -> Batch:
        """``Jᵀ e``, with ``J = ∂f/∂z``."""
        pulled: Batch = self.inner * self.layer.affine.pull(self.to_potential(e))
        return pulled

    def gradients(self, e: Batch) -> tuple[Entries, Entries | None]:
        """``Σ_n (∂f/∂W)ᵀ e_n``, and the same of the bias, if there is one."""
        affine, q = self.layer.affine, self.to_potential(e)
        bias = None if affine.bias is None else affine.bias_gradient(q)
        return affine.weight_gradient(self.seen, q), bias

    def jacobian(self, sample: int) -> Matrix:
        """``J = Pool diag(φ_out') A diag(φ_in')`` of a sample, written down."""
        won = slice(None) if self.won is None else self.won[sample]
        rows = self.layer.affine.matrix[won]
        return scaled(self.outer[sample, won], rows, self.inner[sample])

    def bend(self, e: Batch, sample: int) -> Matrix:
        """``Σ_k e_k ∂²f_k/∂z²`` of a sample: ``Aᵀ diag(φ_out'' ẽ) A`` or ``diag(φ_in'' Aᵀ ẽ)``.

        ``ẽ`` is ``e`` unpooled. Winners stay, and kinks have no curvature.
        """
        affine, pooled = self.layer.affine, self.unpool(e)[sample]
        outside = self.layer.after.curvature(self.potential[sample]) * pooled
        inside = self.layer.before.curvature(self.z[sample]) * (pooled @ affine.matrix)
        ones = np.ones(len(inside))
        bent: Matrix = affine.matrix.T @ scaled(outside, affine.matrix, ones)
        return bent + sp.diags_array(inside)


def scaled(rows: Entries, matrix: Matrix, columns: Entries) -> Matrix:
    """``diag(rows) matrix diag(columns)``."""
    if isinstance(matrix, np.ndarray):
        product: Matrix = rows[:, None] * matrix * columns
        return product
    return sp.diags_array(rows) @ matrix @ sp.diags_array(columns)
