r"""Exact inference in a linear network, in closed form (theory.md 2.2), and its output's system.

At equilibrium every hidden error is the force on the output, carried back: ``e_l = K_lᵀ λ`` with
``K_l = W_{L:l+1}`` and ``λ = π e_L``. The errors carried forward to the clamped output give ``(I +
T Π) e_L = y - ŷ`` with ``T = Σ_l K_l K_lᵀ``. The ``K_l``, ``d_L`` rows each, are made once for all
samples.

Of any linear or linearised network the matrix ``I + θ Kᵀ Π K`` of a least-squares problem in the
hidden errors is inverted by way of its outputs (Woodbury): with ``Π = P²``, ``(I + θ Kᵀ Π K)⁻¹ = I
- θ Kᵀ P (I + θ P T P)⁻¹ P K``.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Float

from pcbench.backends._on_jax.answers import Reached, Squares, ended
from pcbench.backends.jax.network import Batch, Parameters, Rows, energies, over_replicas
from pcbench.networks import NetworkSpec


def output_force(
    through: Float[Array, "*N d_L d_L"],
    right: Float[Array, "*N d_L"],
    precision: Float[Array, "*N d_L"] | None,
    theta: Float[Array, "*N 1"] | float = 1.0,
) -> Float[Array, "*N d_L"]:
    """``P (I + θ P T P)⁻¹ P`` times the right-hand side, of every sample.

    Symmetric, and indifferent to a precision of 0. What cannot be factorised, because weights
    overflowed, comes out as NaN.
    """
    system = through * (theta if isinstance(theta, float) else theta[..., None])
    root = None if precision is None else jnp.sqrt(precision)
    if root is not None:
        system, right = root[..., :, None] * system * root[..., None, :], root * right
    factor = cho_factor(system + jnp.eye(system.shape[-1], dtype=system.dtype), lower=True)
    solved = cho_solve(factor, right[..., None])[..., 0]
    return solved if root is None else root * solved


def infer_exactly(network: NetworkSpec, parameters: Parameters, batch: Batch) -> Reached:
    """Find the equilibrium of every replica."""
    activities, errors, (squares, start) = over_replicas(network, _equilibrium, parameters, batch)
    any_number = jnp.finfo(batch.x.dtype).max
    return ended(activities, energies(batch, errors), 0, squares, start, any_number)


def _equilibrium(
    weights: Parameters, batch: Batch
) -> tuple[tuple[Rows, ...], tuple[Rows, ...], tuple[Squares, Squares]]:
    """Return activities, errors of the clamped network, and squared residuals after and before."""
    x, samples = batch.x, len(batch.x)
    reach = _reach(weights)
    through = sum((k @ k.T for k in reach), jnp.zeros((weights[-1].shape[0],) * 2, x.dtype))
    driven = x @ weights[0].T
    off = batch.output_error(driven @ reach[0].T if reach else driven)
    if batch.precision is None:
        factor = cho_factor(through + jnp.eye(len(through), dtype=x.dtype), lower=True)
        force = output = cho_solve(factor, off.T).T
    else:
        every = jnp.broadcast_to(through, (samples, *through.shape))
        force = output_force(every, off, batch.precision)
        output = jnp.where(batch.precision > 0, off - force @ through, 0)
    hidden = [force @ k for k in reach]
    activities = [x, driven + hidden[0]] if reach else [x, driven + output]
    for weight, error in zip(weights[1:], [*hidden[1:], output], strict=False):
        activities.append(activities[-1] @ weight.T + error)
    # The last activity is left as the recursion has it: that it comes out as the target is the
    # check of the whole. The energy takes the output as clamped, and what was missed is the one
    # residual that the recursion does not make zero: that of the last hidden layer.
    missed = batch.output_error(activities[-1])
    residuals = tuple(
        ((batch.weigh(error) @ weights[-1]) ** 2).sum(-1) if reach else jnp.zeros_like(error[:, 0])
        for error in (missed, off)
    )
    return tuple(activities), (*hidden, output + missed), (residuals[0], residuals[1])


def _reach(weights: Parameters) -> list[Float[Array, "d_L _d"]]:
    """``K_l = W_{L:l+1}`` for the hidden layers, the first one first."""
    reach: list[Array] = []
    for weight in weights[:0:-1]:
        reach.append(reach[-1] @ weight if reach else weight)
    return reach[::-1]
