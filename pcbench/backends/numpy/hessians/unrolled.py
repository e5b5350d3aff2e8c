r"""The Hessian of the energy that steps of inference reach, by complex steps.

The gradient is that of the steps taken, differentiated in reverse: with ``z_{t+1} = z_t - s g(θ,
z_t)``, ``g = ∂(N𝓕)/∂z``, and what the energy gains with the activities, ``λ_T = g(θ, z_T)``,

.. math::
    \bar θ = ∂_θ(N𝓕)(z_T) - s Σ_t ∂_θ⟨g(z_t), λ_{t+1}⟩, \qquad λ_t = λ_{t+1} - s H(z_t) λ_{t+1},

and from ``λ_0`` back through the feedforward pass. It is made of sums, products and analytic
functions of the parameters: its derivative along ``v`` is the imaginary part of its value at ``θ +
i h v``, over ``h``, with nothing subtracted, and so exact to rounding for any small ``h`` (Squire &
Trapp 1998, doi:10.1137/S003614459631241X).
"""

from __future__ import annotations

import numpy as np

from pcbench.backends.numpy.hessians.energy import derivative
from pcbench.backends.numpy.hessians.products import ProductByProduct
from pcbench.backends.numpy.maps import Batch, Entries
from pcbench.backends.numpy.network import along, in_order, parameters_of
from pcbench.backends.numpy.state import Clamped, State

# Its square is lost beside any number, and it is far from where float64 underflows.
_H = 1e-100


class UnrolledHessian(ProductByProduct):
    """Hessian of the energy after ``steps`` steps ``z ← z - step · ∂(N𝓕)/∂z``."""

    def __init__(self, clamped: Clamped, steps: int, step: float) -> None:
        super().__init__(clamped.layers)
        self._clamped, self._steps, self._step = clamped, steps, step

    def multiply(self, vector: list[Entries]) -> list[Entries]:
        """Differentiate the gradient along a vector."""
        given, samples = self._clamped, np.float64(len(self._clamped.x))
        moved = [
            parameter + 1j * _H * part
            for parameter, part in zip(parameters_of(given.layers), vector, strict=True)
        ]
        layers = along(given.layers, moved)
        clamped = Clamped(layers, given.x, given.y, given.precision)
        gradients = unrolled_gradients(clamped, self._steps, self._step)
        return [gradient.imag / _H / samples for gradient in gradients]


def unrolled_gradients(clamped: Clamped, steps: int, step: float) -> list[Entries]:
    """``N`` times the gradients of the energy after so many steps, these included."""
    states = [clamped.feedforward()]
    for _ in range(steps):
        slopes = states[-1].slopes()
        states.append(states[-1].moved([-step * slope for slope in slopes]))
    total, gained = states[-1].gradients(), states[-1].slopes()
    still = [None] * len(clamped.layers)
    for state in reversed(states[:-1]):
        slopes, gradients = derivative(state, state.forces, still, gained)
        total = [part - step * change for part, change in zip(total, gradients, strict=True)]
        gained = [part - step * change for part, change in zip(gained, slopes, strict=True)]
    through = _through_feedforward(states[0], gained)
    return [part + change for part, change in zip(total, through, strict=True)]


def _through_feedforward(start: State, gained: list[Batch]) -> list[Entries]:
    """Differentiate ``Σ_l ⟨gained_l, z_l⟩`` in the parameters, where ``z`` is fed forward."""
    back, pairs = np.zeros_like(start.clamped.y), []
    for layer, gain in zip(reversed(start.evaluated), [*gained[::-1], None], strict=True):
        pairs.append(layer.gradients(back))
        if gain is not None:
            back = gain + layer.pull(back)
    return in_order(reversed(pairs))
