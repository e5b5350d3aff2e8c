r"""Stochastic arithmetic: a computation is repeated with errors of the size of rounding (§4).

Where no formula follows rounding through a network, what changes between a computation and one that
errs, and by how much, is a property of the network at hand: its depth, its scale, its conditioning
(Vignes 1993; Parker 1997). The largest change seen, times ``λ``, is the tolerance. A tolerance is a
pure function of the problem: what is drawn is always the same.

Errors are simulated at the size of a *probe*, and changes scaled to the dtype's roundoff: far above
the float64 rounding of the simulation itself, and far below where the response stops being linear.
Where it bends earlier the probe is cut, at most to what stands out from the rounding of float64;
where there is nothing in between, no bound is known, and it is infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from pcbench.theory.nonlinear.layered import Batch, Layered
from pcbench.theory.rounding.bounds import CONFIDENCE

PROBE = 2.0**-30
LEAST_PROBE = 2.0**-46
"""128 roundings of float64: the least that stands out from them."""
PROBES = (PROBE, LEAST_PROBE)
SMALL = 2.0**-3
"""The most that a number may change by, relative to it, and the change be small."""
PERTURBED = 1_000
"""A norm that rests on this many perturbed numbers is sure; one of fewer is drawn more often."""
DRAWS = 8
"""A norm may have a single entry: that eight normal numbers are all below a quarter of their
standard deviation has a chance of 2e-6."""


def generator() -> np.random.Generator:
    """Return the generator of all errors, in the same state every time."""
    return np.random.default_rng(0)


def draws(numbers: int) -> int:
    """Return how often to repeat what perturbs so many numbers."""
    return DRAWS if numbers < PERTURBED else 1


def repetitions(numbers: int, shared: int) -> int:
    """Return the same where a few, ``shared``, numbers carry the errors of all samples."""
    return max(ceil(PERTURBED / numbers), ceil(DRAWS / shared))


def allowed(changes: ArrayLike, u: float, probe: float) -> Float[np.ndarray, "..."]:
    """Return ``λ`` times the largest change of any draw (first axis), scaled to the roundoff."""
    return np.asarray(CONFIDENCE * u / probe * np.max(changes, axis=0))


def with_rounding(
    network: Layered,
    activities: Sequence[Batch],
    direction: Sequence[Float[np.ndarray, "..."]],
    u: float,
    rng: np.random.Generator,
) -> tuple[Layered, list[Batch], list[Float[np.ndarray, "..."]]]:
    """Return all that a product is made of, with relative errors of ``√2 n u``.

    Activities are ``z_0 … z_L``; of the loss, inputs and targets are enough.
    """
    longest = max(len(activities[0]), *(weight[0].size for weight in network.weights))
    size = np.sqrt(2) * longest * u

    def off(array: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.asarray(array * (1 + size * rng.standard_normal(array.shape)))

    biases = None if network.biases is None else [off(bias) for bias in network.biases]
    moved = replace(network, weights=[off(weight) for weight in network.weights], biases=biases)
    return moved, [off(z) for z in activities], [off(part) for part in direction]
