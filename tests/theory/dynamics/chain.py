r"""Gradient flow on ``𝓕*`` in the smallest network there is: a chain of single units (§2.7).

With weights ``w_l = e^{a_l}``, ``y = b x``, ``y² = 1`` and ``q_l = w_L ⋯ w_l``, Theorem 1 reads
``𝓕* = r²/(2S)``, ``r = 1 - q_1/b``, ``S = 1 + Σ_{l≥2} q_l²``, and

.. math::
    \frac{d a_l}{dt} = w_l^{-2} \Bigl[ \frac{r q_1}{b S}
        + \frac{r²}{S²} \sum_{k=2}^{l} q_k² \Bigr] .

In the logarithms ``a_l`` nothing underflows, however small the weights, and in the time ``s`` of
``dt = S ds`` every stage of growth takes about ``ln(1/σ)``: the whole of the way is solved, from
``σ = 1e-300`` if need be, where an asymptotic law can be seen for what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

_FOREVER = 1e9
_E_FOLD = 1.0
"""No step of the solver is longer: beyond, exponentials of a trial step overflow."""


def chain_escape_times(
    layers: int, log_scales: Sequence[float], fraction: float = 0.5, gain: float = 1.0
) -> Float[np.ndarray, " scales"]:
    """Return when the loss ``r²/2`` has fallen by a fraction, every weight ``σ`` at first.

    In units of ``1/Σ_yy``, to a relative accuracy of about 1e-8.

    Parameters
    ----------
    layers
        ``L``, at least 2.
    log_scales
        ``Λ = ln(1/σ)`` each, up to 700.
    fraction
        Of the loss at the origin, strictly between 0 and 1.
    gain
        ``b``, what the chain is to make of its input.

    Raises
    ------
    ValueError
        If a chain does not start short of the threshold, or cannot be followed to its end.
    """
    escaped = log(gain) + log(1 - np.sqrt(1 - fraction))

    def arrival(_: float, state: Float[np.ndarray, " n"], __: float) -> float:
        return float(state[:-1].sum() - escaped)

    arrival.terminal = True  # type: ignore[attr-defined]
    times = []
    for log_scale in log_scales:
        start = np.append(np.full(layers, -float(log_scale)), 0.0)
        if arrival(0.0, start, 0.0) >= 0:
            raise ValueError(f"a chain from σ = exp(-{log_scale:g}) has left before it starts")
        way = solve_ivp(
            _growth,
            (0, _FOREVER),
            start,
            "LSODA",
            args=(log(gain),),
            max_step=_E_FOLD,
            rtol=1e-9,
            atol=1e-9,
            events=arrival,
        )
        if not way.t_events[0].size:
            raise ValueError(f"a chain from σ = exp(-{log_scale:g}) was not followed to its end")
        times.append(way.y_events[0][0, -1])
    return np.array(times)


def stage_coefficient(grown: int) -> float:
    r"""Return what a stage of growth takes, in units of ``Λ^{k+1}/λ``, with ``k`` layers grown.

    While one more layer grows from ``σ`` to 1, the gradient flow on ``𝓕*`` takes

    .. math:: \frac{(2Λ)^{k+1}}{2λ} \int_0^1 ξ (ξ + 1) ⋯ (ξ + k - 1) \, dξ ,

    to leading order; ``λ = Σ_yy``, a single output. The integral is ``k!`` times the coefficients
    of Adams and Bashforth, 1, 1/2, 5/12, 3/8, …
    """
    rising = np.poly1d(np.poly(-np.arange(grown)) if grown else [1.0])
    whole = np.polyint(rising)
    return float(2**grown * (whole(1.0) - whole(0.0)))


def _growth(_: float, state: Float[np.ndarray, " n"], log_gain: float) -> Float[np.ndarray, " n"]:
    """Return ``d/ds`` of the logarithms of the weights, and of the time."""
    a = state[:-1]
    log_products = np.cumsum(a[::-1])[::-1]
    left = 1 - np.exp(log_products[0] - log_gain)
    covariance = 1 + np.exp(2 * log_products[1:]).sum()
    # q_k²/w_l², k = 2 … l: exponents are added before anything is exponentiated. Row l has them
    # below the diagonal; what is above would overflow, and is not wanted.
    exponents = np.tril(2 * (log_products[None, 1:] - a[:, None]), -1)
    pulls = np.tril(np.exp(exponents), -1).sum(axis=1)
    cross = np.exp(log_products[0] - log_gain - 2 * a)
    return np.append(left * cross + left**2 / covariance * pulls, covariance)
