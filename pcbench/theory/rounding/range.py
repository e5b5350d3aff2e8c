"""Where the numbers end: what float64 cannot tell, and what a dtype cannot hold (§4)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pcbench.theory.arrays import Batch
from pcbench.theory.linear.equilibrium import output_covariance
from pcbench.theory.nonlinear.layered import (
    Layered,
    Precision,
    backpropagated,
    feedforward,
    weighted_errors,
)
from pcbench.theory.rounding.undecidable import UndecidableError


def demand_range(
    network: Layered, x: Batch, y: Batch, largest: float, precision: Precision | None = None
) -> None:
    """Demand that an honest implementation can hold all that it has to compute.

    Squares of activities, errors and forces at the feedforward activities, which the loss, its
    gradients (by Cauchy's inequality) and the norms of slopes are made of, and in a linear network
    the trace of ``S``: the sum of them all must not exceed ``largest``, where the dtype ends.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        forward = feedforward(network, x)
        force = weighted_errors(network, [*forward[:-1], y], precision)[-1]
        sent = backpropagated(network, forward, force)
        squares = [float(np.sum(array**2)) for array in (*forward, *sent)]
        linear = network.activation == "identity" and network.biases is None
        if linear and not network.images:
            squares.append(float(np.trace(output_covariance(network.weights))))
        size = sum(squares)
    if not size <= largest:  # nor if it is no number
        raise UndecidableError(
            f"squares in this network reach {size:.2g}, and the dtype ends at {largest:.2g}"
        )


def demand_definite(
    least: Float[np.ndarray, " N"], largest: Float[np.ndarray, " N"], units: int
) -> None:
    """Demand that eigenvalues found in float64 show the least one to be positive.

    Each is off by no more than about ``n`` roundings of the largest, of a matrix of ``n`` rows
    (Weyl's inequality, and the backward error of the eigensolver).
    """
    off = units * np.finfo(float).eps * largest
    if not (least > 2 * off).all():
        raise UndecidableError(
            f"the least curvature of the energy, {float(least.min()):.2g}, is lost in the rounding "
            f"of the largest, {float(largest.max()):.2g}"
        )
