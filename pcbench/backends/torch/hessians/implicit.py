r"""The Hessian of the equilibrated energy of any network, by the implicit-function theorem (3.1).

.. math::
    ∇^2 𝓕^* V = 𝓕_{θθ} V + 𝓕_{θz} \, δz, \qquad 𝓕_{zz} \, δz = - 𝓕_{zθ} V .

The inner system is solved for every sample and every direction by conjugate gradients. What they
are preconditioned with is the Gauss-Newton part ``G`` of ``𝓕_zz``, which leaves out how layers
bend: the curvature of a linear network, solved exactly with a ``d_L × d_L`` system a sample. Where
layers are straight (linear networks, rectifiers) the first step is the last; else ``𝓕_zz - G`` is
as small as the errors at the equilibrium, and so few steps do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.engines.gauss_newton import LinearisedNetwork
from pcbench.backends.torch.engines.relaxation import Relaxation
from pcbench.backends.torch.hessians.blocks import BlockedHessian
from pcbench.backends.torch.hessians.differentiation import gradients, products, variables
from pcbench.backends.torch.layer import Layer, along, parameters_of

Hidden = list[Float[Tensor, "*#R K N _d"]]

# Steps of conjugate gradients, at most; and the residual asked for, in units of the dtype's
# epsilon: what rounding leaves of a system whose condition number is in the hundreds.
_MAX_STEPS = 200
_EPSILONS = 16.0


class ImplicitEnergyHessian(BlockedHessian):
    """``∇²𝓕*`` at the equilibrium activities ``z_0 … z_L``.

    Parameters
    ----------
    layers
        ``f_1 … f_L``.
    activities
        ``z_0 … z_L``, the last the target.
    precision
        Of the outputs; ``None`` for 1.
    residual
        Relative residual of the inner system at which its solution is good enough; ``None`` for
        what the dtype allows.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        activities: Sequence[Tensor],
        precision: Tensor | None = None,
        residual: float | None = None,
    ) -> None:
        super().__init__(layers, activities[0])
        x, *hidden, y = (z.expand(*self._replicas, *z.shape[-2:]) for z in activities)
        self._hidden, self._parameters = variables(hidden), variables(parameters_of(layers))
        network = Relaxation(along(layers, self._parameters), x, y, precision)
        slopes = gradients(
            network.at(self._hidden).sample_energies().sum(-1), [*self._parameters, *self._hidden]
        )
        depth = len(self._parameters)
        self._in_parameters, self._in_hidden = slopes[:depth], slopes[depth:]
        self._tangents = [
            layer.at(z.unsqueeze(-3)) for layer, z in zip(self._layers, [x, *hidden], strict=True)
        ]
        at = LinearisedNetwork.at(Relaxation(layers, x, y, precision).at(hidden))
        self._factor = at.factor(torch.ones_like(y[..., :1]))
        self._root = None if precision is None else precision.sqrt().unsqueeze(-3)
        self._wanted = residual or _EPSILONS * torch.finfo(y.dtype).eps
        self.residual = 0.0

    def multiply(self, directions: list[Tensor]) -> list[Tensor]:
        """Multiply a block of vectors."""
        if not self._hidden:
            moved = self._products(self._in_parameters, self._parameters, directions)
        else:
            pulled = self._products(self._in_parameters, self._hidden, directions)
            dz = self._solve([-force for force in pulled])
            both, vectors = [*self._in_parameters, *self._in_hidden], [*directions, *dz]
            moved = self._products(both, self._parameters, vectors)
        return [part / self._x.shape[-2] for part in moved]

    def _products(
        self, gradients: list[Tensor], at: list[Tensor], vectors: list[Tensor]
    ) -> list[Tensor]:
        return products(gradients, at, vectors, self._axis)

    def _curve(self, moves: Hidden) -> Hidden:
        """``𝓕_zz`` times moves of the hidden activities."""
        return self._products(self._in_hidden, self._hidden, moves)

    def _solve(self, right: Hidden) -> Hidden:
        """``𝓕_zz⁻¹`` times the right-hand side, of every sample and direction by itself."""
        start = _dot(right, right)
        solution = self._precondition(right)
        residual = _minus(right, self._curve(solution))
        direction: Hidden = []
        rho = torch.ones_like(start)
        for _ in range(_MAX_STEPS):
            if not self._relative(residual, start) > self._wanted:  # or no number: no use to go on
                break
            steepest = self._precondition(residual)
            before, rho = rho, _dot(residual, steepest)
            # Of a system that is solved to the last bit nothing is left to turn, or to go.
            turn = torch.where(before == 0, 0.0, rho / before)
            direction = (
                [s + turn * d for s, d in zip(steepest, direction, strict=True)]
                if direction
                else steepest
            )
            image = self._curve(direction)
            curvature = _dot(direction, image)
            length = torch.where(curvature == 0, 0.0, rho / curvature)
            solution = [s + length * d for s, d in zip(solution, direction, strict=True)]
            residual = [r - length * i for r, i in zip(residual, image, strict=True)]
        if direction:  # what the recursion believes is left is less than what is
            residual = _minus(right, self._curve(solution))
        left = self._relative(residual, start)
        if not left <= self.residual:  # what is no number is worse than any
            self.residual = left
        return solution

    @staticmethod
    def _relative(residual: Hidden, start: Tensor) -> float:
        squares = _dot(residual, residual)
        return float(torch.where(start > 0, squares / start, squares).max().sqrt())

    def _precondition(self, right: Hidden) -> Hidden:
        """``G⁻¹`` times the right-hand side.

        In the errors ``δe_l = δz_l - J_l δz_{l-1}`` it is ``I + Kᵀ Π K``, with the right-hand side
        pulled back to them; ``K`` carries errors on to the output, and back.
        """
        tangents, root = self._tangents, self._root
        back = [right[-1]]
        for tangent, force in zip(tangents[-2:0:-1], right[-2::-1], strict=True):
            back.append(force + tangent.pull(back[-1]))
        back.reverse()
        reached = back[0]
        for tangent, force in zip(tangents[1:-1], back[1:], strict=True):
            reached = force + tangent.push(reached)
        missed = tangents[-1].push(reached)
        if root is not None:
            missed = root * missed
        # Samples have systems of their own; directions are right-hand sides of the same.
        force = torch.cholesky_solve(missed.movedim(-3, -1), self._factor).movedim(-1, -3)
        if root is not None:
            force = root * force
        errors = []
        for tangent, pulled in zip(reversed(tangents[1:]), reversed(back), strict=True):
            force = tangent.pull(force)
            errors.append(pulled - force)
        errors.reverse()
        moves = [errors[0]]
        for tangent, error in zip(tangents[1:-1], errors[1:], strict=True):
            moves.append(error + tangent.push(moves[-1]))
        return moves


def _dot(a: Hidden, b: Hidden) -> Float[Tensor, "*#R K N 1"]:
    total = torch.zeros_like(a[0][..., :1])
    for one, other in zip(a, b, strict=True):
        total = total + (one * other).sum(-1, keepdim=True)
    return total


def _minus(a: Hidden, b: Hidden) -> Hidden:
    return [one - other for one, other in zip(a, b, strict=True)]
