r"""Gradient flow on ``𝓕*`` in the smallest network there is: a chain of single units (§2.7).

With weights ``w_l = e^{a_l}``, ``y = b x``, ``y² = 1`` and ``q_l = w_L ⋯ w_l``, Theorem 1 reads
``𝓕* = r²/(2S)``, ``r = 1 - q_1/b``, ``S = 1 + Σ_{l≥2} q_l²``, and

.. math::
    \frac{d a_l}{dt} = w_l^{-2} \Bigl[ \frac{r q_1}{b S}
        + \frac{r²}{S²} \sum_{k=2}^{l} q_k² \Bigr] .

In the logarithms ``a_l`` nothing underflows, however small the weights: the whole of the way is
solved, from ``σ = 1e-150`` if need be, where an asymptotic law can be seen for what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

_FOREVER = 1e30


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
        ``Λ = ln(1/σ)`` each, up to 350.
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

    def arrival(_: float, a: Float[np.ndarray, " L"], __: float) -> float:
        return float(a.sum() - escaped)

    arrival.terminal = True  # type: ignore[attr-defined]
    times = []
    for log_scale in log_scales:
        start = np.full(layers, -float(log_scale))
        if start.sum() >= escaped:
            raise ValueError(f"a chain from σ = exp(-{log_scale:g}) has left before it starts")
        way = solve_ivp(
            _growth,
            (0, _FOREVER),
            start,
            "LSODA",
            args=(log(gain),),
            rtol=1e-9,
            atol=1e-9,
            events=arrival,
        )
        if not way.t_events[0].size:
            raise ValueError(f"a chain from σ = exp(-{log_scale:g}) was not followed to its end")
        times.append(way.t_events[0][0])
    return np.array(times)


def _growth(_: float, a: Float[np.ndarray, " L"], log_gain: float) -> Float[np.ndarray, " L"]:
    log_products = np.cumsum(a[::-1])[::-1]
    left = 1 - np.exp(log_products[0] - log_gain)
    covariance = 1 + np.exp(2 * log_products[1:]).sum()
    # q_k²/w_l² for k = 2 … l: exponents are added before anything is exponentiated.
    pulls = np.exp(2 * (log_products[None, 1:] - a[:, None]))
    seen = np.tril(pulls, -1).sum(axis=1)  # row l has the columns k = 2 … l
    cross = np.exp(log_products[0] - log_gain - 2 * a)
    return np.asarray(left * cross / covariance + (left / covariance) ** 2 * seen)
