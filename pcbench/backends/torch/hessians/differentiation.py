"""Second derivatives by PyTorch's own differentiation: of gradients whose graph is kept.

A Hessian is symmetric: differentiated along a vector, a gradient is what is pulled back from the
gradient to its arguments, by one pass over a graph that was recorded once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def variables(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors, to be differentiated in."""
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


def gradients(objective: Tensor, at: Sequence[Tensor]) -> list[Tensor]:
    """Differentiate the sum of an objective over the replicas, and record how."""
    return list(torch.autograd.grad(objective.sum(), at, create_graph=True))


def products(
    gradients: Sequence[Tensor], at: Sequence[Tensor], vectors: Sequence[Tensor], axis: int
) -> list[Tensor]:
    """Differentiate ``Σ_i ⟨g_i, v_i⟩`` for many vectors at once.

    Parameters
    ----------
    gradients, at
        ``g_i``, and what to differentiate them in.
    vectors
        ``v_i``, in the shape of ``g_i`` with one axis of ``K`` more.
    axis
        Where that axis is.

    Returns
    -------
    list of Tensor
        In the shapes of ``at`` with the same axis.
    """
    alone = vectors[0].shape[axis] == 1  # which takes no batching, and half the time if small
    moved = torch.autograd.grad(
        gradients,
        at,
        [v.squeeze(axis) if alone else v.movedim(axis, 0) for v in vectors],
        retain_graph=True,
        is_grads_batched=not alone,
    )
    return [part.unsqueeze(axis) if alone else part.movedim(0, axis) for part in moved]
