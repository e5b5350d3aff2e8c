"""Exact inference in a linear network, with one pass of the batch over the weights.

At equilibrium the hidden errors satisfy ``e_l = W_{l+1}ᵀ e_{l+1}``, which leaves only the output
error unknown. Carrying ``z_l = W_l z_{l-1} + e_l`` up to the clamped output gives ``S e_L = y -
W_{L:1} x`` with ``S = I + Σ_{l=2}^{L} W_{L:l} W_{L:l}ᵀ`` (theory.md 2.2), a ``d_L × d_L`` system:
nothing of size (hidden units)² is formed.

``S`` needs the products ``W_{L:l}`` from the output down, ``d_L`` rows instead of a batch. With
these at hand, so are all errors, ``e_l = W_{L:l+1}ᵀ e_L``: where outputs are fewer than hidden
units, no backward pass of the batch is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.base import Inference


@dataclass(frozen=True, slots=True)
class OutputSystem:
    """What the output sees of the network.

    Attributes
    ----------
    reach
        ``K = [W_{L:2}, …, W_{L:L}, I]`` side by side: how the error of each layer reaches the
        output.
    factor
        The lower Cholesky factor of ``S = K Kᵀ``.
    widths
        ``d_1 … d_L``, the widths of the blocks of ``K``.
    """

    reach: Float[Tensor, "*#replica d_L units"]
    factor: Float[Tensor, "*#replica d_L d_L"]
    widths: list[int]

    @classmethod
    def of(cls, weights: Sequence[Float[Tensor, "*#replica _out _inp"]]) -> OutputSystem:
        """Multiply on from the output."""
        last = weights[-1]
        identity = torch.eye(last.shape[-2], dtype=last.dtype, device=last.device)
        products = [identity.expand(*last.shape[:-2], -1, -1)]
        for weight in reversed(weights[1:]):
            products.append(products[-1] @ weight if len(products) > 1 else weight)
        reach = torch.cat(products[::-1], dim=-1)
        # S ⪰ I cannot fail to factorise unless weights overflowed, and then NaN should show itself.
        factor, _ = torch.linalg.cholesky_ex(reach @ reach.mT)
        return cls(reach, factor, [weight.shape[-2] for weight in weights])

    def to_output(self) -> Sequence[Float[Tensor, "*#replica d_L _d"]]:
        """``W_{L:2}, …, W_{L:L}, I``, one a layer."""
        blocks: Sequence[Tensor] = torch.split(self.reach, self.widths, dim=-1)
        return blocks

    def solve(self, right: Float[Tensor, "*batch N d_L"]) -> Float[Tensor, "*batch N d_L"]:
        """``S⁻¹`` times every row."""
        return torch.cholesky_solve(right.mT, self.factor).mT

    def errors(
        self,
        weights: Sequence[Float[Tensor, "*#replica _out _inp"]],
        output: Float[Tensor, "*#replica N d_L"],
    ) -> Sequence[Float[Tensor, "*#replica N _d"]]:
        """``e_1 … e_L`` that belong to an output error, the cheaper of two ways."""
        at_once = output.shape[-1] * sum(self.widths[:-1])
        layer_by_layer = sum(weight.shape[-1] * weight.shape[-2] for weight in weights[1:])
        if at_once <= layer_by_layer:
            blocks: Sequence[Tensor] = torch.split(output @ self.reach, self.widths, dim=-1)
            return blocks
        errors = [output]
        for weight in reversed(weights[1:]):
            errors.append(errors[-1] @ weight)
        return errors[::-1]


def infer_exactly(
    weights: Sequence[Float[Tensor, "*#replica _out _inp"]],
    x: Float[Tensor, "*#replica N d_0"],
    y: Float[Tensor, "*#replica N d_L"],
) -> Inference[Tensor]:
    """Find the equilibrium activities.

    The last activity returned is ``z_L = W_L z_{L-1} + e_L`` as the recursion leaves it, not a
    copy of ``y``: that it equals ``y`` is the self-check of the whole computation. The energies
    take the output as clamped.
    """
    system = OutputSystem.of(weights)
    n, d_out = y.shape[-2], y.shape[-1]
    if d_out <= n:  # the product of all layers is cheaper than a forward pass of the batch
        off = y - x @ (system.to_output()[0] @ weights[0]).mT
    else:
        prediction = x
        for weight in weights:
            prediction = prediction @ weight.mT
        off = y - prediction
    errors = system.errors(weights, system.solve(off))

    activities = [x]
    for weight, error in zip(weights, errors, strict=True):
        activities.append(_step(error, activities[-1], weight))

    missed = y - activities[-1]
    clamped = [*errors[:-1], errors[-1] + missed]
    energies = torch.stack([_norm(error) for error in clamped], dim=-1).square() / (2 * n)
    # The recursion makes every hidden residual zero but the last, which the output's miss drives.
    start, end = (_norm(miss @ weights[-1]) for miss in (off, missed))
    residual = torch.where(start > 0, end / start, end)
    if len(weights) == 1:
        residual = torch.zeros_like(residual)
    return Inference(activities, energies, steps=0, residual=residual, converged=True)


def _step(
    error: Float[Tensor, "*#replica N d_out"],
    below: Float[Tensor, "*#replica N d_in"],
    weight: Float[Tensor, "*#replica d_out d_in"],
) -> Float[Tensor, "*#replica N d_out"]:
    """``z_l = W_l z_{l-1} + e_l``, in one kernel where there are no replicas."""
    if below.dim() == weight.dim() == 2:
        return torch.addmm(error, below, weight.mT)
    return error + below @ weight.mT


def _norm(batch: Float[Tensor, "*#replica N _d"]) -> Float[Tensor, "*#replica"]:
    """Frobenius norm, a replica each."""
    norm: Tensor = torch.linalg.vector_norm(batch, dim=(-2, -1))
    return norm
