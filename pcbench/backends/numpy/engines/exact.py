"""The equilibrium of a network of affine layers: one linear system, written down and solved.

``N𝓕`` is quadratic in the hidden activities. From any activities ``z``, the feedforward ones say,
``H_z δz = -∂(N𝓕)/∂z`` leads to its minimum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pcbench.backends.numpy.curvature import each_sample, gauss_newton_curvature
from pcbench.backends.numpy.engines.account import ended, slope_norms
from pcbench.backends.numpy.layers import Layer
from pcbench.backends.numpy.maps import Batch
from pcbench.backends.numpy.state import Clamped, by_layer, side_by_side
from pcbench.contract.model import BackendUnavailableError, Inference


def infer_exactly(clamped: Clamped) -> Inference[Batch]:
    """Find the equilibrium.

    What a direct solution leaves is solved for once more, with the same factors, as usual: rounding
    then stays near that of evaluating the slopes (Higham 2002, chapter 12).

    Raises
    ------
    BackendUnavailableError
        If a layer is not affine.
    """
    refuse_bent_layers(clamped.layers)
    start = state = clamped.feedforward()
    starts = slope_norms(start)
    if start.hidden:
        solve = each_sample(start, lambda at, n: gauss_newton_curvature(at, n).cholesky())
        for _ in ("the solution", "its refinement"):
            slopes = side_by_side(state.slopes(), like=clamped.x)
            state = state.moved(by_layer(-solve(slopes), state.hidden))
    return ended(state, starts, np.inf)


def refuse_bent_layers(layers: Sequence[Layer]) -> None:
    """Refuse a network whose equilibrium is not the solution of a linear system.

    Raises
    ------
    BackendUnavailableError
        If a layer has an activation, or pools.
    """
    if not all(layer.is_affine for layer in layers):
        raise BackendUnavailableError(
            "engine: exact solves networks without activations and pooling; use engine: "
            "gauss_newton here"
        )
