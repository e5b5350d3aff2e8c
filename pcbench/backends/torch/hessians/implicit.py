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

from pcbench.backends.torch.hessians.blocks import BlockedHessian
from pcbench.backends.torch.hessians.curved import Moved, curved, in_order, maps_along
from pcbench.backends.torch.layer import Layer
from pcbench.backends.torch.maps import AffineMap

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
        self._curved = curved(layers, activities[:-1])
        self._precision = None if precision is None else precision.unsqueeze(-3)
        forces = [
            above.unsqueeze(-3) - layer.tangent.value
            for layer, above in zip(self._curved, activities[1:], strict=True)
        ]
        if self._precision is not None:
            forces[-1] = torch.where(self._precision > 0, forces[-1], 0) * self._precision
        for layer, force in zip(self._curved, forces, strict=True):
            layer.meet(force)
        self._factor = self._factorised(activities)
        self._wanted = residual or _EPSILONS * torch.finfo(forces[-1].dtype).eps
        self.residual = 0.0

    def multiply(self, directions: list[Tensor]) -> list[Tensor]:
        """Multiply a block of vectors."""
        along: list[AffineMap | None] = [*maps_along(self._layers, directions)]
        rows = self.rows(directions)
        still = [
            layer.tangent.seen.new_zeros(()).expand(*rows, *layer.tangent.value.shape[-2:])
            for layer in self._curved[:-1]
        ]
        pulled, _, _ = self._sweep(still, along, rows)
        dz = self._solve([-force for force in pulled])
        _, moves, turned = self._sweep(dz, along, rows)
        gradients = [
            layer.gradients(moved, dq, v)
            for layer, moved, dq, v in zip(self._curved, moves, turned, along, strict=True)
            if v is not None
        ]
        return in_order(gradients, -1 / self._x.shape[-2])

    def _sweep(
        self, dz: Hidden, along: Sequence[AffineMap | None], rows: torch.Size
    ) -> tuple[Hidden, list[Moved], list[Tensor]]:
        """Move hidden activities and parameters; return how ``∂(N𝓕)/∂z``, layers and ``q`` move."""
        first, last = self._curved[0].tangent, self._curved[-1].tangent
        inputs = [first.seen.new_zeros(()).expand(*rows, *first.seen.shape[-2:]), *dz]
        outputs = [*dz, last.value.new_zeros(()).expand(*rows, *last.value.shape[-2:])]
        moves, turned, pulled, forces = [], [], [], []
        for layer, v, below, above in zip(self._curved, along, inputs, outputs, strict=True):
            moves.append(layer.move(below, v))
            forces.append(above - moves[-1].value)
        if self._precision is not None:
            forces[-1] = forces[-1] * self._precision
        for layer, v, below, moved, force in zip(
            self._curved, along, inputs, moves, forces, strict=True
        ):
            dq, dp = layer.turn(moved, below, force, v)
            turned.append(dq)
            pulled.append(dp)
        return [g - p for g, p in zip(forces, pulled[1:], strict=False)], moves, turned

    def _solve(self, right: Hidden) -> Hidden:
        """``𝓕_zz⁻¹`` times the right-hand side, of every sample and direction by itself."""
        if not right:
            return right
        none: list[AffineMap | None] = [None] * len(self._curved)
        rows = right[0].shape[:-2]
        start = _dot(right, right)
        solution = self._precondition(right)
        residual = _minus(right, self._sweep(solution, none, rows)[0])
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
            image, _, _ = self._sweep(direction, none, rows)
            curvature = _dot(direction, image)
            length = torch.where(curvature == 0, 0.0, rho / curvature)
            solution = [s + length * d for s, d in zip(solution, direction, strict=True)]
            residual = [r - length * i for r, i in zip(residual, image, strict=True)]
        if direction:  # what the recursion believes is left is less than what is
            residual = _minus(right, self._sweep(solution, none, rows)[0])
        left = self._relative(residual, start)
        if not left <= self.residual:  # what is no number is worse than any
            self.residual = left
        return solution

    @staticmethod
    def _relative(residual: Hidden, start: Tensor) -> float:
        squares = _dot(residual, residual)
        return float(torch.where(start > 0, squares / start, squares).max().sqrt())

    def _factorised(self, activities: Sequence[Tensor]) -> Tensor:
        """The Cholesky factors of ``I + P T P``, with ``T = Σ_l K_l K_lᵀ``, a sample each."""
        output = activities[-1]
        reach = torch.eye(output.shape[-1], dtype=output.dtype, device=output.device)
        identity, reach = reach, reach.expand(*output.shape, output.shape[-1])
        through = torch.zeros_like(reach)
        for layer, below in zip(self._layers[:0:-1], activities[-2:0:-1], strict=True):
            reach = layer.at(below).pull(reach)
            through = through + reach @ reach.mT
        if self._precision is not None:
            root = self._precision.squeeze(-3).sqrt()
            through = root.unsqueeze(-1) * through * root.unsqueeze(-2)
        factor: Tensor
        factor, _ = torch.linalg.cholesky_ex(through + identity)
        return factor

    def _precondition(self, right: Hidden) -> Hidden:
        """``G⁻¹`` times the right-hand side.

        In the errors ``δe_l = δz_l - J_l δz_{l-1}`` it is ``I + Kᵀ Π K``, with the right-hand side
        pulled back to them; ``K`` carries errors on to the output, and back.
        """
        tangents = [layer.tangent for layer in self._curved]
        back = [right[-1]]
        for tangent, force in zip(tangents[-2:0:-1], right[-2::-1], strict=True):
            back.append(force + tangent.pull(back[-1]))
        back.reverse()
        reached = back[0]
        for tangent, force in zip(tangents[1:-1], back[1:], strict=True):
            reached = force + tangent.push(reached)
        missed = tangents[-1].push(reached)
        root = None if self._precision is None else self._precision.sqrt()
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
