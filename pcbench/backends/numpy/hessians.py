r"""Hessians by their products: each the derivative of a gradient along a vector.

A layer that moves: with the force ``g`` on its output, ``q = φ_out'(a) * unpool(g)`` and ``p =
φ_in'(z) * Aᵀ q``, the layer's parameters meet ``q sᵀ`` and ``q``, and its input ``p``. Where ``A``
moves by ``V``, ``b`` by ``v``, the input by ``δz`` and the force by ``δg``, the rules of sum and
product give

.. math::
    δs = φ_{in}' δz, \quad δa = A δs + V s + v, \quad δf = pool(φ_{out}' δa), \quad
    δq = φ_{out}' unpool(δg) + φ_{out}'' δa\, unpool(g), \quad
    δp = φ_{in}' (A^T δq + V^T q) + φ_{in}'' δz\, A^T q .

The equilibrated energy, by the implicit-function theorem (theory.md 3.1), with ``𝓕_zz`` of every
sample written down and factorised:

.. math::
    ∇^2 𝓕^* v = 𝓕_{θθ} v + 𝓕_{θz} \, δz, \qquad 𝓕_{zz} \, δz = - 𝓕_{zθ} v .

The energy that steps of inference reach, by complex steps: the gradient is that of the steps taken,
differentiated in reverse. With ``z_{t+1} = z_t - s g(θ, z_t)``, ``g = ∂(N𝓕)/∂z``, and what the
energy gains with the activities, ``λ_T = g(θ, z_T)``,

.. math::
    \bar θ = ∂_θ(N𝓕)(z_T) - s Σ_t ∂_θ⟨g(z_t), λ_{t+1}⟩, \qquad λ_t = λ_{t+1} - s H(z_t) λ_{t+1},

and from ``λ_0`` back through the feedforward pass. It is made of sums, products and analytic
functions of the parameters: its derivative along ``v`` is the imaginary part of its value at ``θ +
i h v``, over ``h``, with nothing subtracted, and so exact to rounding for any small ``h`` (Squire &
Trapp 1998, doi:10.1137/S003614459631241X).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pcbench.backends.numpy.layers import (
    AffineMap,
    Batch,
    Entries,
    Layer,
    LayerAt,
    along,
    in_order,
    parameters_of,
)
from pcbench.backends.numpy.state import (
    Clamped,
    State,
    by_layer,
    each_sample,
    full_curvature,
    side_by_side,
)
from pcbench.contract.model import Hessian


class ProductByProduct(Hessian[Batch]):
    """Takes vectors apart into parameters; subclasses multiply one."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._shapes = [parameter.shape for parameter in parameters_of(layers)]
        self.residual = 0.0

    @abstractmethod
    def multiply(self, vector: list[Entries]) -> list[Entries]:
        """Multiply one vector, in the shapes of the parameters."""

    @np.errstate(all="ignore")
    def product(self, vectors: Float[np.ndarray, "K P"]) -> Float[np.ndarray, "K P"]:
        """Multiply every row."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])
        products = np.empty_like(vectors)
        for product, vector in zip(products, vectors, strict=True):
            parts = np.split(vector, ends[:-1])
            moved = self.multiply(
                [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]
            )
            product[:] = np.concatenate([part.ravel() for part in moved])
        return products


class EnergyHessian(ProductByProduct):
    """``∇²𝓕*`` at the equilibrium that is given."""

    def __init__(self, equilibrium: State) -> None:
        super().__init__(equilibrium.clamped.layers)
        self._at, self._forces = equilibrium, equilibrium.forces
        self._hidden = equilibrium.hidden
        if self._hidden:
            self._solve = each_sample(equilibrium, lambda at, n: full_curvature(at, n).lu())

    def multiply(self, vector: list[Entries]) -> list[Entries]:
        """``∇²𝓕* v``."""
        maps = [layer.affine for layer in along(self._at.clamped.layers, vector)]
        still = [np.zeros_like(z) for z in self._hidden]
        slopes, gradients = derivative(self._at, self._forces, maps, still)  # 𝓕_zθ v and 𝓕_θθ v
        if slopes:
            right = side_by_side(slopes, like=still[0])
            solved = by_layer(-self._solve(right), still)
            slopes, gradients = derivative(self._at, self._forces, maps, solved)
            left = np.linalg.norm(side_by_side(slopes, like=still[0]), axis=1)
            asked = np.linalg.norm(right, axis=1)
            worst = float(np.max(left / np.where(asked > 0, asked, 1.0), initial=0.0))
            # What is no number is worse than any.
            self.residual = worst if not worst <= self.residual else self.residual
        samples = np.float64(len(self._at.clamped.x))
        return [part / samples for part in gradients]


def derivative(
    state: State, forces: Sequence[Batch], maps: Sequence[AffineMap | None], dz: Sequence[Batch]
) -> tuple[list[Batch], list[Entries]]:
    """Return how ``∂(N𝓕)/∂z`` and ``∂(N𝓕)/∂θ`` change along parameters and hidden activities.

    Of a state and its forces; the parameters of a layer stay where there is ``None`` for them.
    """
    clamped = state.clamped
    inputs, outputs = [np.zeros_like(clamped.x), *dz], [*dz, np.zeros_like(clamped.y)]
    precisions = [None] * len(dz) + [clamped.precision]
    dg, dp, gradients = zip(
        *map(_tangent, state.evaluated, maps, inputs, outputs, forces, precisions), strict=True
    )
    slopes = [change - below for change, below in zip(dg, dp[1:], strict=False)]
    return slopes, [-part for part in in_order(gradients)]


def _tangent(
    at: LayerAt,
    along: AffineMap | None,
    dz: Batch,
    above: Batch,
    g: Batch,
    precision: Batch | None,
) -> tuple[Batch, Batch, tuple[Entries, Entries | None]]:
    """Move a layer, its input and the activity above it; return ``δg``, ``δp`` and gradients."""
    affine = at.layer.affine
    ds = at.inner * dz
    da = affine.push(ds)
    if along is not None:
        da = da + along(at.seen)
    dg = above - at.pool(at.outer * da)
    dg = dg if precision is None else precision * dg
    q = at.to_potential(g)
    dq = at.to_potential(dg) + at.layer.after.curvature(at.potential) * da * at.unpool(g)
    turned = affine.pull(dq)
    if along is not None:
        turned = turned + along.pull(q)
    dp = at.inner * turned + at.layer.before.curvature(at.z) * dz * affine.pull(q)
    weight = affine.weight_gradient(at.seen, dq) + affine.weight_gradient(ds, q)
    return dg, dp, (weight, None if affine.bias is None else affine.bias_gradient(dq))


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
