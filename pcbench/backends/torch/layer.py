"""One layer ``f_l`` of a network, its value and its derivatives at a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.activation import Phi
from pcbench.backends.torch.maps import AffineMap
from pcbench.backends.torch.pooling import MaxPool


@dataclass(frozen=True, slots=True)
class Layer:
    """``f(z) = pool(φ_out(A φ_in(z) + b))``: one of the two ``φ``, or neither.

    Attributes
    ----------
    affine
        ``A`` and ``b``.
    before, after
        ``φ_in`` (the ``pre`` convention) and ``φ_out`` (``post``); ``None`` is the identity.
    pool
        ``None`` pools nothing.
    """

    affine: AffineMap
    before: Phi | None = None
    after: Phi | None = None
    pool: MaxPool | None = None

    def __call__(self, z: Float[Tensor, "*#R N d_in"]) -> Float[Tensor, "*#R N d_out"]:
        """Return ``f(z)``."""
        return self.at(z).value

    def with_directions(self) -> Layer:
        """Make room for an axis of directions behind that of replicas, if there is one."""
        return replace(self, affine=self.affine.with_directions())

    def at(self, z: Float[Tensor, "*#R N d_in"]) -> Linearisation:
        """Return value and derivatives at ``z``."""
        inner = outer = winners = None
        if self.before is not None:
            z, inner = self.before(z)
        value = self.affine(z)
        if self.after is not None:
            value, outer = self.after(value)
        if self.pool is not None:
            value, winners = self.pool(value)
        return Linearisation(self, z, value, inner, outer, winners)


@dataclass(frozen=True, slots=True)
class Linearisation:
    """A layer at a point.

    Attributes
    ----------
    layer
        The layer.
    seen
        What its affine map sees, ``φ_in(z)``.
    value
        ``f(z)``.
    inner, outer
        Slopes of ``φ_in`` and ``φ_out``.
    winners
        Positions that the pooling chose.
    """

    layer: Layer
    seen: Float[Tensor, "*#R N d_in"]
    value: Float[Tensor, "*#R N d_out"]
    inner: Tensor | None
    outer: Tensor | None
    winners: Tensor | None

    def pull(self, e: Float[Tensor, "*#R N *K d_out"]) -> Float[Tensor, "*#R N *K d_in"]:
        """``Jᵀ e``, with ``J = ∂f/∂z``; of one vector a sample, or of many."""
        back = self.layer.affine.pull(self._to_affine(e))
        return back if self.inner is None else back * _aligned(self.inner, back)

    def push(self, v: Float[Tensor, "*#R N d_in"]) -> Float[Tensor, "*#R N d_out"]:
        """``J v``."""
        if self.inner is not None:
            v = self.inner * v
        v = self.layer.affine.push(v)
        return self.pool(v if self.outer is None else self.outer * v)

    def gradients(self, e: Float[Tensor, "*#R N d_out"]) -> tuple[Tensor, Tensor | None]:
        """``Σ_n (∂f/∂W)ᵀ e_n``, and the same for the bias, if there is one."""
        affine, reached = self.layer.affine, self._to_affine(e)
        weight = affine.weight_gradient(self.seen, reached)
        return weight, None if affine.bias is None else affine.bias_gradient(reached)

    def pool(self, v: Tensor) -> Tensor:
        """Let the winners through."""
        if self.layer.pool is None or self.winners is None:
            return v
        return self.layer.pool.push(v, self.winners)

    def unpool(self, e: Tensor) -> Tensor:
        """Put every entry where its winner was."""
        if self.layer.pool is None or self.winners is None:
            return e
        return self.layer.pool.pull(e, self.winners)

    def _to_affine(self, e: Tensor) -> Tensor:
        e = self.unpool(e)
        return e if self.outer is None else e * _aligned(self.outer, e)


def parameters_of(layers: Sequence[Layer]) -> list[Tensor]:
    """``W_1 … W_L``, then the biases of all layers, if they have them."""
    return in_order([(layer.affine.weight, layer.affine.bias) for layer in layers])


def along(layers: Sequence[Layer], parameters: Sequence[Tensor]) -> list[Layer]:
    """Return the layers with other parameters, which they share with the caller."""
    weights, biases = parameters[: len(layers)], parameters[len(layers) :]
    return [
        replace(layer, affine=layer.affine.along(weight, bias))
        for layer, weight, bias in zip_longest(layers, weights, biases)
    ]


def in_order(pairs: Sequence[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
    """Weights of all layers, then biases of all that have them."""
    return [weight for weight, _ in pairs] + [bias for _, bias in pairs if bias is not None]


def _aligned(slope: Tensor, e: Tensor) -> Tensor:
    """Make room in a slope for the axis of many vectors a sample."""
    return slope.unsqueeze(-2) if e.dim() > slope.dim() else slope
