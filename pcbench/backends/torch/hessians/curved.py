r"""Second derivatives of one layer, along a direction of its parameters and of its input.

With the force ``g = π e`` on a layer's output, ``½ ‖e‖²`` changes with its parameters and input by
``-q sᵀ`` and ``-p``, where ``s = φ_in(z)``, ``a = A s + b``, ``q = φ_out'(a) * Poolᵀ g`` and ``p =
φ_in'(z) * Aᵀ q``. Moving ``A`` by ``V`` and ``z`` by ``δz``, to first order,

.. math::
    δa = A\, δs + V s, \quad δs = φ_{in}' δz, \quad
    δq = φ_{out}' * Pool^T δg + φ_{out}'' δa * Pool^T g, \quad
    δp = φ_{in}' (A^T δq + V^T q) + φ_{in}'' δz * A^T q .

Pooling keeps its winners; at a kink an activation counts as straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.layer import Layer, Linearisation
from pcbench.backends.torch.maps import AffineMap

Moves = Float[Tensor, "*#R K N _d"]


@dataclass(frozen=True, slots=True)
class Moved:
    """How the output of a layer moves.

    Attributes
    ----------
    seen, potential, value
        ``δs``, ``δa`` and ``δf``.
    """

    seen: Moves
    potential: Moves
    value: Moves


class CurvedLayer:
    """A layer at a point, with the force that its output meets.

    Parameters
    ----------
    layer
        Its parameters may have replicas, if it is no convolution.
    z
        Its input, with an axis for directions, ``(*R, 1, N, d_in)`` or ``(1, N, d_in)``.
    """

    def __init__(self, layer: Layer, z: Float[Tensor, "*#R 1 N d_in"]) -> None:
        self.tangent: Linearisation = layer.at(z)
        self._before = layer.before.curvature(z) if layer.before else None
        self._after = None
        if layer.after:
            self._after = layer.after.curvature(layer.affine(self.tangent.seen))

    def meet(self, force: Float[Tensor, "*#R 1 N d_out"]) -> Float[Tensor, "*#R 1 N d_in"]:
        """Take the force on the output, and return what it pulls back to the input."""
        pooled = self.tangent.unpool(force)
        self._bend_out = None if self._after is None else self._after * pooled
        self._q = pooled if self.tangent.outer is None else self.tangent.outer * pooled
        back = self.tangent.layer.affine.pull(self._q)
        self._bend_in = None if self._before is None else self._before * back
        return back if self.tangent.inner is None else self.tangent.inner * back

    def move(self, dz: Moves, along: AffineMap | None) -> Moved:
        """Move the input and, where ``along`` is given, the parameters."""
        tangent = self.tangent
        ds = dz if tangent.inner is None else tangent.inner * dz
        da = tangent.layer.affine.push(ds)
        if along is not None:
            da = da + along(tangent.seen)
        return Moved(ds, da, tangent.pool(da if tangent.outer is None else tangent.outer * da))

    def turn(
        self, moved: Moved, dz: Moves, dg: Moves, along: AffineMap | None
    ) -> tuple[Moves, Moves]:
        """Return ``δq`` and ``δp`` where the force moves by ``dg``."""
        tangent = self.tangent
        dq = tangent.unpool(dg)
        dq = dq if tangent.outer is None else tangent.outer * dq
        if self._bend_out is not None:
            dq = dq + self._bend_out * moved.potential
        dp = tangent.layer.affine.pull(dq)
        if along is not None:
            dp = dp + along.pull(self._q.expand(dq.shape))
        dp = dp if tangent.inner is None else tangent.inner * dp
        if self._bend_in is not None:
            dp = dp + self._bend_in * dz
        return dq, dp

    def gradients(self, moved: Moved, dq: Moves, along: AffineMap) -> tuple[Tensor, Tensor | None]:
        """Return ``δ(q sᵀ)`` and, if there are biases, ``δq``, summed over the samples."""
        seen, q = self.tangent.seen, self._q
        weight = along.weight_gradient(seen, dq) + along.weight_gradient(moved.seen, q)
        return weight, None if along.bias is None else along.bias_gradient(dq)


def curved(layers: Sequence[Layer], inputs: Sequence[Tensor]) -> list[CurvedLayer]:
    """Stand every layer at its input, ``z_0 … z_{L-1}``, with room for directions."""
    return [
        CurvedLayer(layer.with_directions(), z.unsqueeze(-3))
        for layer, z in zip(layers, inputs, strict=False)
    ]


def maps_along(layers: Sequence[Layer], directions: Sequence[Tensor]) -> list[AffineMap]:
    """Make of every direction's parameters the maps ``V_l``, each with ``K`` of them."""
    biases = iter(directions[len(layers) :])
    return [
        layer.affine.along(weight, None if layer.affine.bias is None else next(biases))
        for layer, weight in zip(layers, directions, strict=False)
    ]


def in_order(gradients: Sequence[tuple[Tensor, Tensor | None]], factor: float) -> list[Tensor]:
    """Weights of all layers, then biases of all that have them, times a factor."""
    weights = [factor * weight for weight, _ in gradients]
    return weights + [factor * bias for _, bias in gradients if bias is not None]
