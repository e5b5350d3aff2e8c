r"""Hessian-vector products of the loss and of the equilibrated energy of a linear network.

Both come from the definition of the objective, by differentiating its gradient along ``V``. For the
energy that is the implicit-function formula (theory.md 3.1)

.. math::
    ∇^2 𝓕^* V = 𝓕_{θθ} V - 𝓕_{θz} \, 𝓕_{zz}^{-1} 𝓕_{zθ} V \quad \text{at equilibrium},

with the inner system solved exactly: it is itself an inference problem, in ``δz``. Theorem 1's
formula for the energy is nowhere used, or the theorem would be checking itself.

Vectors run over all weights, layer by layer, each row-major; many are multiplied at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.engines.exact import OutputSystem, infer_exactly

Layers = Sequence[Float[Tensor, "*#replica _out _inp"]]
Directions = list[Float[Tensor, "*#replica K _out _inp"]]

# Directions are multiplied in blocks whose largest intermediate stays near this many numbers, which
# keeps a block in cache on a CPU and bounds memory on any device.
_BLOCK_NUMBERS = 4_000_000


def energy_product(
    weights: Layers,
    x: Float[Tensor, "N d_0"],
    y: Float[Tensor, "N d_L"],
    vectors: Float[Tensor, "*#replica K P"],
) -> Float[Tensor, "*#replica K P"]:
    """``∇²𝓕* v`` for every row ``v``.

    Along ``V`` the equilibrium moves so that ``δe_l = δz_l - W_l δz_{l-1} - V_l z_{l-1}`` stays
    stationary, ``δe_l = W_{l+1}ᵀ δe_{l+1} + V_{l+1}ᵀ e_{l+1}``, with ``δz_0 = δz_L = 0``; then
    ``(∇²𝓕* V)_l = -(1/N) (δe_lᵀ z_{l-1} + e_lᵀ δz_{l-1})``.
    """
    system = OutputSystem.of(weights)
    equilibrium = infer_exactly(weights, x, y)
    z = [_many(activity) for activity in [*equilibrium.activities[:-1], y]]
    w = [_many(weight) for weight in weights]
    e = [above - below @ weight.mT for weight, (below, above) in zip(w, pairwise(z), strict=True)]
    to_output = [_many(product) for product in system.to_output()]
    many_systems = replace(system, factor=_many(system.factor))

    def multiply(directions: Directions) -> Directions:
        pushed = [below @ v.mT for below, v in zip(z, directions, strict=False)]  # V_l z_{l-1}
        # Errors as they would move if the output error did not: c_L = 0, then down the layers.
        moved = [torch.zeros_like(pushed[-1])]
        for weight, v, error in zip(w[:0:-1], directions[:0:-1], e[:0:-1], strict=True):
            moved.append(moved[-1] @ weight + error @ v)
        moved.reverse()
        # The output then misses its clamp by this much, ...
        missed = pushed[0] + moved[0]
        for weight, push, move in zip(w[1:], pushed[1:], moved[1:], strict=True):
            missed = missed @ weight.mT + push + move
        # ... which the output error makes good, as S e_L = r does in inference.
        output = -many_systems.solve(missed)
        de = [move + output @ product for move, product in zip(moved, to_output, strict=False)]
        de.append(moved[-1] + output)
        dz = [torch.zeros_like(z[0])]
        for weight, push, error in zip(w[:-1], pushed, de, strict=False):
            dz.append(dz[-1] @ weight.mT + push + error)
        return [
            -(d_error.mT @ below + error.mT @ d_below) / x.shape[-2]
            for d_error, below, error, d_below in zip(de, z, e, dz, strict=False)
        ]

    return _in_blocks(multiply, weights, len(x), vectors)


def loss_product(
    weights: Layers,
    x: Float[Tensor, "N d_0"],
    y: Float[Tensor, "N d_L"],
    vectors: Float[Tensor, "*#replica K P"],
) -> Float[Tensor, "*#replica K P"]:
    """``∇²𝓛 v`` for every row ``v``.

    With ``h_l = W_l h_{l-1}`` and ``g_l = W_{l+1}ᵀ g_{l+1}`` from ``g_L = ŷ - y``, differentiate
    ``∂𝓛/∂W_l = (1/N) g_lᵀ h_{l-1}`` along ``V``.
    """
    w = [_many(weight) for weight in weights]
    h = [_many(x)]
    for weight in w:
        h.append(h[-1] @ weight.mT)
    g = [h[-1] - _many(y)]
    for weight in w[:0:-1]:
        g.append(g[-1] @ weight)
    g.reverse()

    def multiply(directions: Directions) -> Directions:
        dh = [torch.zeros_like(h[0])]
        for weight, v, below in zip(w, directions, h, strict=False):
            dh.append(dh[-1] @ weight.mT + below @ v.mT)
        dg = [dh[-1]]
        for weight, v, above in zip(w[:0:-1], directions[:0:-1], g[:0:-1], strict=True):
            dg.append(dg[-1] @ weight + above @ v)
        dg.reverse()
        return [
            (d_above.mT @ below + above.mT @ d_below) / x.shape[-2]
            for d_above, below, above, d_below in zip(dg, h, g, dh, strict=False)
        ]

    return _in_blocks(multiply, weights, len(x), vectors)


def _many(tensor: Float[Tensor, "*#replica _a _b"]) -> Float[Tensor, "*broadcast _a _b"]:
    """Make room for the axis of directions behind the replicas; a matrix broadcasts as it is."""
    return tensor.unsqueeze(-3) if tensor.dim() > 2 else tensor


def _in_blocks(
    multiply: Callable[[Directions], Directions],
    weights: Layers,
    n: int,
    vectors: Float[Tensor, "*#replica K P"],
) -> Float[Tensor, "*#replica K P"]:
    shapes = [weight.shape[-2:] for weight in weights]
    sizes = [rows * columns for rows, columns in shapes]
    replicas = vectors.shape[:-2].numel()
    numbers = replicas * max(sum(sizes), n * max(max(shape) for shape in shapes))
    products = []
    for block in torch.split(vectors, max(1, _BLOCK_NUMBERS // numbers), dim=-2):
        directions = [
            part.reshape(*part.shape[:-1], *shape)
            for part, shape in zip(torch.split(block, sizes, dim=-1), shapes, strict=True)
        ]
        products.append(torch.cat([p.flatten(-2) for p in multiply(directions)], dim=-1))
    return torch.cat(products, dim=-2)
