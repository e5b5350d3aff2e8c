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
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

from pcbench.contract.model import Inference

Weights = Sequence[Float[Tensor, "*#replica _out _inp"]]
Outputs = Float[Tensor, "*#replica N d_L"]


@dataclass(frozen=True, slots=True)
class OutputSystem:
    """What the output sees of the hidden layers, whose widths are ``d_1 … d_{L-1}``.

    ``reach`` is ``K = [W_{L:2}, …, W_{L:L}]`` side by side, how the error of each hidden layer
    reaches the output; ``through`` is ``T = K Kᵀ``, and ``factor`` the lower Cholesky factor of ``S
    = I + T``.
    """

    reach: Float[Tensor, "*#replica d_L hidden"]
    through: Float[Tensor, "*#replica d_L d_L"]
    factor: Float[Tensor, "*#replica d_L d_L"]
    widths: tuple[int, ...]

    @classmethod
    def of(cls, weights: Weights) -> OutputSystem:
        """Multiply on from the output."""
        products = chains_from_output(weights) or [weights[-1][..., :0]]
        reach = torch.cat(products, dim=-1)
        through = reach @ reach.mT
        factor = output_factor(through, None)
        return cls(reach, through, factor, tuple(weight.shape[-2] for weight in weights[:-1]))

    def to_output(self) -> Sequence[Float[Tensor, "*#replica d_L _d"]]:
        """``W_{L:2}, …, W_{L:L}``, one a hidden layer."""
        return self._by_layer(self.reach)

    def solve(self, right: Float[Tensor, "*batch N d_L"]) -> Float[Tensor, "*batch N d_L"]:
        """``S⁻¹`` times every row."""
        return torch.cholesky_solve(right.mT, self.factor).mT

    def pull(self, weights: Weights, force: Outputs) -> Sequence[Float[Tensor, "*#replica N _d"]]:
        """``W_{L:l+1}ᵀ λ`` for the hidden layers, the cheaper of two ways."""
        at_once = force.shape[-1] * sum(self.widths)
        layer_by_layer = sum(weight.shape[-1] * weight.shape[-2] for weight in weights[1:])
        if at_once <= layer_by_layer:
            return self._by_layer(force @ self.reach)
        errors = [force]
        for weight in reversed(weights[1:]):
            errors.append(errors[-1] @ weight)
        return errors[:0:-1]

    def _by_layer(self, units: Float[Tensor, "*batch hidden"]) -> Sequence[Tensor]:
        """Split the last axis into hidden layers."""
        if not self.widths:
            return []
        blocks: Sequence[Tensor] = torch.split(units, list(self.widths), dim=-1)
        return blocks


def chains_from_output(weights: Weights) -> list[Float[Tensor, "*#replica d_L _d"]]:
    """``W_{L:2}, …, W_{L:L}``, one a hidden layer."""
    products = [] if len(weights) == 1 else [weights[-1]]
    for weight in weights[-2:0:-1]:
        products.append(products[-1] @ weight)
    return products[::-1]


def infer_exactly(
    weights: Weights,
    x: Float[Tensor, "*#replica N d_0"],
    y: Outputs,
    precision: Outputs | None = None,
) -> Inference[Tensor]:
    """Find the equilibrium activities.

    The last activity returned is ``z_L = W_L z_{L-1} + e_L`` as the recursion leaves it, not a
    copy of ``y``: that it equals ``y`` is the self-check of the whole computation. Where an output
    is not observed, it is the prediction. The energies take the output as clamped.
    """
    system = OutputSystem.of(weights)
    driven = x @ weights[0].mT  # W_1 x, of which prediction and z_1 are both made
    prediction = driven if len(weights) == 1 else driven @ system.to_output()[0].mT
    if precision is None:
        off = y - prediction
        force = output_error = system.solve(off)
    else:
        off = torch.where(precision > 0, y, prediction) - prediction
        force = output_force(system.through.unsqueeze(-3), off, precision)
        reached = force @ system.through  # what the hidden errors make good
        output_error = torch.where(precision > 0, off - reached, 0)

    errors = [*system.pull(weights, force), output_error]
    activities = [x, driven + errors[0]]
    for weight, error in zip(weights[1:], errors[1:], strict=True):
        activities.append(_step(error, activities[-1], weight))

    missed = y - activities[-1]
    if precision is not None:
        missed = torch.where(precision > 0, missed, 0)
    clamped_error = output_error + missed
    clamped_force = clamped_error
    if precision is not None:
        off, clamped_force = off * precision, clamped_error * precision
        missed = clamped_force - force  # rounding of the force that was pulled back, too
    # Of the errors themselves. tr(K_lᵀ (Σ_n λ_n λ_nᵀ) K_l), cheaper, is lost in the rounding of its
    # terms where a layer's error is less than ‖K_l‖ ‖λ‖ would have it.
    squares = [vector_norm(error, dim=(-2, -1)).square() for error in errors[:-1]]
    squares.append((clamped_error * clamped_force).sum((-2, -1)))
    energies = torch.stack(squares, dim=-1) / (2 * y.shape[-2])
    sample_residuals, residual = _residuals(weights, off, missed)
    return Inference(
        activities,
        energies,
        steps=0,
        residual=residual,
        # Where squares overflow, a residual relative to infinity is 0: energies tell.
        converged=isfinite(float(residual.sum() + energies.sum())),
        passes=1 + y.shape[-1] / y.shape[-2],
        sample_residuals=sample_residuals,
    )


def relative(squares: Tensor, start: Tensor) -> Tensor:
    """Norm by norm at the start, from their squares; absolute where that was zero."""
    return torch.where(start > 0, squares / start, squares).sqrt()


def _residuals(
    weights: Weights, off: Outputs, missed: Outputs
) -> tuple[Float[Tensor, "*#replica N"], Float[Tensor, "*#replica"]]:
    """Relative residuals of every sample, and of the batch.

    The recursion makes every hidden residual zero but that of the last hidden layer: the miss of
    the output, pulled back, as at the feedforward activities it is the output's whole error.
    """
    pair = torch.stack([off, missed])
    if len(weights) == 1:
        return torch.zeros_like(off[..., 0]), torch.zeros_like(off[..., 0, 0])
    # ‖missed W_L‖²; what is orthogonal to W_L may round to below zero.
    squares = ((pair @ (weights[-1] @ weights[-1].mT)) * pair).sum(-1).clamp(min=0)
    whole = squares.sum(-1)
    return relative(squares[1], squares[0]), relative(whole[1], whole[0])


def output_force(
    through: Float[Tensor, "*#R #N d_L d_L"], right: Outputs, precision: Outputs | None
) -> Outputs:
    """``P (I + P T P)⁻¹ P`` times the right-hand side, of every sample, with ``P = √π``.

    Of an output's error it is ``λ = π e_L`` at equilibrium (theory.md 2.3). Symmetric, and where
    the precision is 0, no force comes from the output.
    """
    root = None if precision is None else precision.sqrt()
    right = right if root is None else root * right
    factor = output_factor(through, precision)
    solved: Tensor = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
    return solved if root is None else root * solved


def output_factor(
    through: Float[Tensor, "*#R d_L d_L"], precision: Float[Tensor, "*#R d_L"] | None
) -> Float[Tensor, "*R d_L d_L"]:
    """Return the lower Cholesky factor of ``I + P T P``, with the precision ``P²``."""
    if precision is not None:
        root = precision.sqrt()
        through = root.unsqueeze(-1) * through * root.unsqueeze(-2)
    identity = torch.eye(through.shape[-1], dtype=through.dtype, device=through.device)
    # It cannot fail unless weights overflowed, and then NaN should show itself.
    factor: Tensor
    factor, _ = torch.linalg.cholesky_ex(through + identity)
    return factor


def _step(
    error: Float[Tensor, "*#replica N d_out"],
    below: Float[Tensor, "*#replica N d_in"],
    weight: Float[Tensor, "*#replica d_out d_in"],
) -> Float[Tensor, "*#replica N d_out"]:
    """``z_l = W_l z_{l-1} + e_l``, in one kernel where there are no replicas."""
    if below.dim() == weight.dim() == 2:
        return torch.addmm(error, below, weight.mT)
    return error + below @ weight.mT
