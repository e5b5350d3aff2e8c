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
from functools import cache

import torch
from jaxtyping import Float, Int
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
    covariance
        ``S = K Kᵀ``.
    factor
        Its lower Cholesky factor.
    widths
        ``d_1 … d_L``, the widths of the blocks of ``K``.
    """

    reach: Float[Tensor, "*#replica d_L units"]
    covariance: Float[Tensor, "*#replica d_L d_L"]
    factor: Float[Tensor, "*#replica d_L d_L"]
    widths: tuple[int, ...]

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
        covariance = reach @ reach.mT
        factor, _ = torch.linalg.cholesky_ex(covariance)
        return cls(reach, covariance, factor, tuple(weight.shape[-2] for weight in weights))

    def to_output(self) -> Sequence[Float[Tensor, "*#replica d_L _d"]]:
        """``W_{L:2}, …, W_{L:L}, I``, one a layer."""
        blocks: Sequence[Tensor] = torch.split(self.reach, list(self.widths), dim=-1)
        return blocks

    def solve(self, right: Float[Tensor, "*batch N d_L"]) -> Float[Tensor, "*batch N d_L"]:
        """``S⁻¹`` times every row."""
        return torch.cholesky_solve(right.mT, self.factor).mT

    def solve_observed(
        self, off: Float[Tensor, "*#replica N d_L"], precision: Float[Tensor, "*#replica N d_L"]
    ) -> Float[Tensor, "*#replica N d_L"]:
        """Return ``λ = π e_L`` of outputs that count by their precision (theory.md 2.1).

        Every sample has a system of its own, ``(I + P (S - I) P) v = P r`` with ``P = √π`` and ``λ
        = P v``: where the precision is 0, no force comes from the output.
        """
        root = precision.sqrt()
        identity = torch.eye(off.shape[-1], dtype=off.dtype, device=off.device)
        through = (self.covariance - identity).unsqueeze(-3)
        system = root.unsqueeze(-1) * through * root.unsqueeze(-2) + identity
        factor, _ = torch.linalg.cholesky_ex(system)
        return root * torch.cholesky_solve((root * off).unsqueeze(-1), factor).squeeze(-1)

    def pull(
        self,
        weights: Sequence[Float[Tensor, "*#replica _out _inp"]],
        force: Float[Tensor, "*#replica N d_L"],
    ) -> Sequence[Float[Tensor, "*#replica N _d"]]:
        """``W_{L:l+1}ᵀ λ`` for ``l = 1 … L``, the cheaper of two ways."""
        at_once = force.shape[-1] * sum(self.widths[:-1])
        layer_by_layer = sum(weight.shape[-1] * weight.shape[-2] for weight in weights[1:])
        if at_once <= layer_by_layer:
            blocks: Sequence[Tensor] = torch.split(force @ self.reach, list(self.widths), dim=-1)
            return blocks
        errors = [force]
        for weight in reversed(weights[1:]):
            errors.append(errors[-1] @ weight)
        return errors[::-1]

    def square_sums(self, force: Float[Tensor, "*#replica N d_L"]) -> Float[Tensor, "*#replica L"]:
        """``Σ_n ‖W_{L:l+1}ᵀ λ_n‖² = tr(K_lᵀ (Σ_n λ_n λ_nᵀ) K_l)`` for ``l = 1 … L``."""
        by_unit = ((force.mT @ force) @ self.reach).mul_(self.reach).sum(-2)
        sums = torch.zeros(
            (*by_unit.shape[:-1], len(self.widths)), dtype=force.dtype, device=force.device
        )
        return sums.index_add_(-1, _layer_of_unit(self.widths, force.device), by_unit)


def infer_exactly(
    weights: Sequence[Float[Tensor, "*#replica _out _inp"]],
    x: Float[Tensor, "*#replica N d_0"],
    y: Float[Tensor, "*#replica N d_L"],
    precision: Float[Tensor, "*#replica N d_L"] | None = None,
) -> Inference[Tensor]:
    """Find the equilibrium activities.

    The last activity returned is ``z_L = W_L z_{L-1} + e_L`` as the recursion leaves it, not a
    copy of ``y``: that it equals ``y`` is the self-check of the whole computation. Where an output
    is not observed, it is the prediction. The energies take the output as clamped.
    """
    system = OutputSystem.of(weights)
    n, d_out = y.shape[-2], y.shape[-1]
    if d_out <= n:  # the product of all layers is cheaper than a forward pass of the batch
        prediction = ((system.to_output()[0] @ weights[0]) @ x.mT).mT
    else:
        prediction = x
        for weight in weights:
            prediction = prediction @ weight.mT
    if precision is None:
        off = y - prediction
        force = output_error = system.solve(off)
    else:
        off = torch.where(precision > 0, y, prediction) - prediction
        force = system.solve_observed(off, precision)
        reached = force @ system.covariance - force  # what the hidden errors make good
        output_error = torch.where(precision > 0, off - reached, 0)

    activities = [x]
    for weight, error in zip(weights[:-1], system.pull(weights, force), strict=False):
        activities.append(_step(error, activities[-1], weight))
    activities.append(_step(output_error, activities[-1], weights[-1]))

    missed = y - activities[-1] if precision is None else _missed(y, activities[-1], precision)
    energies = _energies(system, force, output_error + missed, precision) / (2 * n)
    # The recursion makes every hidden residual zero but the last, which the output's miss drives.
    if precision is not None:
        off, missed = off * precision, missed * precision
    pair = torch.stack([off, missed])
    by_sample = ((pair @ (weights[-1] @ weights[-1].mT)) * pair).sum(-1)  # ‖missed W_L‖²
    squares = torch.cat([by_sample, by_sample.sum(-1, keepdim=True)], dim=-1)
    residuals = relative(squares[1], squares[0])
    if len(weights) == 1:
        residuals = torch.zeros_like(residuals)
    return Inference(
        activities,
        energies,
        steps=0,
        residual=residuals[..., -1],
        converged=bool(residuals.isfinite().all()),
        passes=1 + d_out / n,
        sample_residuals=residuals[..., :-1],
    )


@cache
def _layer_of_unit(widths: tuple[int, ...], device: torch.device) -> Int[Tensor, " units"]:
    """Number the layer, from 0, that each unit belongs to."""
    return torch.arange(len(widths)).repeat_interleave(torch.tensor(widths)).to(device)


def relative(squares: Tensor, start: Tensor) -> Tensor:
    """Norm by norm at the start, from their squares; absolute where that was zero."""
    return torch.where(start > 0, squares / start, squares).sqrt()


def _energies(
    system: OutputSystem, force: Tensor, output_error: Tensor, precision: Tensor | None
) -> Float[Tensor, "*#replica L"]:
    """``Σ_n ‖e_l‖²`` of every layer, the output's from its error as it is."""
    squares = system.square_sums(force)
    weighed = output_error if precision is None else output_error * precision
    squares[..., -1] = (output_error * weighed).sum((-2, -1))
    return squares


def _missed(y: Tensor, reached: Tensor, precision: Tensor) -> Tensor:
    """How far the observed outputs are from their targets."""
    return torch.where(precision > 0, y, reached) - reached


def _step(
    error: Float[Tensor, "*#replica N d_out"],
    below: Float[Tensor, "*#replica N d_in"],
    weight: Float[Tensor, "*#replica d_out d_in"],
) -> Float[Tensor, "*#replica N d_out"]:
    """``z_l = W_l z_{l-1} + e_l``, in one kernel where there are no replicas."""
    if below.dim() == weight.dim() == 2:
        return torch.addmm(error, below, weight.mT)
    return error + below @ weight.mT
