r"""Hessians by their products with vectors, block by block.

That of any function of the parameters differentiates its gradient along vectors; that of a linear
network's equilibrated energy is in closed form; that of any other network goes by the
implicit-function theorem (theory.md 3.1),

.. math::
    ∇^2 𝓕^* V = 𝓕_{θθ} V + 𝓕_{θz} \, δz, \qquad 𝓕_{zz} \, δz = - 𝓕_{zθ} V .

The inner system is solved for every sample and every direction by conjugate gradients. What they
are preconditioned with is the Gauss-Newton part ``G`` of ``𝓕_zz``, which leaves out how layers
bend: the curvature of a linear network, solved exactly with a ``d_L × d_L`` system a sample. Where
layers are straight (linear networks, rectifiers) the first step is the last; else ``𝓕_zz - G`` is
as small as the errors at the equilibrium, and so few steps do.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.exact import OutputSystem, output_factor
from pcbench.backends.torch.gauss_newton import LinearisedNetwork
from pcbench.backends.torch.layers import Layer, along, parameters_of, threads_that_pay
from pcbench.backends.torch.relaxation import Relaxation
from pcbench.contract.model import BackendUnavailableError, Hessian

# Vectors are multiplied in blocks whose largest intermediate stays near this many numbers, which
# keeps a block in cache on a CPU and bounds memory on any device.
_BLOCK_NUMBERS = 4_000_000

Vectors = Float[Tensor, "*#R K P"]


class BlockedHessian(Hessian[Tensor]):
    """Multiplies block by block; subclasses multiply one. Convolutions may have no replicas."""

    def __init__(self, layers: Sequence[Layer], x: Float[Tensor, "*#R N d_0"]) -> None:
        self._layers, self._x = [layer.with_directions() for layer in layers], x
        self._replicas = layers[0].affine.replicas
        self._axis = len(self._replicas)  # of directions
        self._shapes = [part.shape[self._axis :] for part in parameters_of(layers)]
        widths = [layer.affine.widths for layer in layers]
        self._numbers = self._replicas.numel() * max(
            sum(shape.numel() for shape in self._shapes), x.shape[-2] * max(map(max, widths))
        )

    @abstractmethod
    def multiply(self, directions: list[Tensor]) -> Sequence[Tensor]:
        """Multiply a block of vectors, split into parameters: ``(*R, K, *shape)`` each."""

    def product(self, vectors: Vectors) -> Vectors:
        """Multiply every row."""
        if not vectors.shape[-2]:
            return vectors
        sizes = [shape.numel() for shape in self._shapes]
        products = []
        rows = self._x.shape[-2] * vectors.shape[-2]
        with threads_that_pay(self._layers, rows, self._x.device):
            for block in torch.split(vectors, max(1, _BLOCK_NUMBERS // self._numbers), dim=-2):
                directions = [
                    part.reshape(*part.shape[:-1], *shape)
                    for part, shape in zip(
                        torch.split(block, sizes, dim=-1), self._shapes, strict=True
                    )
                ]
                moved = self.multiply(directions)
                flat = [
                    part.reshape(*block.shape[:-1], size)
                    for part, size in zip(moved, sizes, strict=True)
                ]
                products.append(torch.cat(flat, dim=-1))
        return torch.cat(products, dim=-2)


def variables(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors, to be differentiated in."""
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


def gradients(objective: Tensor, at: Sequence[Tensor]) -> list[Tensor]:
    """Differentiate the sum of an objective over the replicas, and record how."""
    return list(torch.autograd.grad(objective.sum(), at, create_graph=True))


def products(
    gradients: Sequence[Tensor], at: Sequence[Tensor], vectors: Sequence[Tensor], axis: int
) -> list[Tensor]:
    """Differentiate ``Σ_i ⟨g_i, v_i⟩`` for many vectors, along an axis that ``g_i`` have not.

    A Hessian is symmetric: differentiated along a vector, a gradient is what is pulled back from
    the gradient to its arguments, by one pass over a graph that was recorded once.
    """
    alone = vectors[0].shape[axis] == 1  # which takes no batching, and half the time if small
    moved = torch.autograd.grad(
        gradients,
        at,
        [v.squeeze(axis) if alone else v.movedim(axis, 0) for v in vectors],
        retain_graph=True,
        is_grads_batched=not alone,
    )
    return [part.unsqueeze(axis) if alone else part.movedim(0, axis) for part in moved]


class ObjectiveHessian(BlockedHessian):
    """Hessian of an objective that layers have, one number a replica."""

    residual = 0.0

    def __init__(
        self, layers: Sequence[Layer], x: Tensor, objective: Callable[[list[Layer]], Tensor]
    ) -> None:
        super().__init__(layers, x)
        self._parameters = variables(parameters_of(layers))
        self._gradients = gradients(objective(along(layers, self._parameters)), self._parameters)

    def multiply(self, directions: list[Tensor]) -> list[Tensor]:
        """Multiply a block of vectors."""
        return products(self._gradients, self._parameters, directions, self._axis)


def unrolled_hessian(
    layers: Sequence[Layer], x: Tensor, y: Tensor, steps: int, step: float
) -> ObjectiveHessian:
    """Return the Hessian of the energy after ``steps`` steps ``z ← z - step · ∂(N𝓕)/∂z``."""
    if layers[0].affine.replicas:
        raise BackendUnavailableError("Hessians through steps of inference take no replicas")

    def reached(layers: list[Layer]) -> Tensor:
        view = Relaxation(layers, x, y, None).feedforward()
        for _ in range(steps):
            hidden = zip(view.activities[1:], view.slopes(), strict=True)
            view = view.relaxation.at([z - step * slope for z, slope in hidden])
        return view.sample_energies().mean()

    return ObjectiveHessian(layers, x, reached)


Directions = list[Float[Tensor, "*#R K _out _inp"]]


class LinearEnergyHessian(BlockedHessian):
    r"""``∇²𝓕*`` of a linear network at equilibrium, in closed form.

    It comes from the definition of the energy, by differentiating its gradient along ``V``: the
    implicit-function formula (theory.md 3.1)

    .. math::
        ∇^2 𝓕^* V = 𝓕_{θθ} V - 𝓕_{θz} \, 𝓕_{zz}^{-1} 𝓕_{zθ} V \quad \text{at equilibrium},

    with the inner system solved exactly: it is itself an inference problem, in ``δz``. Theorem 1's
    formula for the energy is nowhere used, or the theorem would be checking itself.

    Along ``V`` the equilibrium moves so that ``δe_l = δz_l - W_l δz_{l-1} - V_l z_{l-1}`` stays
    stationary, ``δe_l = W_{l+1}ᵀ δe_{l+1} + V_{l+1}ᵀ e_{l+1}``, with ``δz_0 = δz_L = 0``; then
    ``(∇²𝓕* V)_l = -(1/N) (δe_lᵀ z_{l-1} + e_lᵀ δz_{l-1})``.
    """

    residual = 0.0

    def __init__(
        self, layers: Sequence[Layer], activities: Sequence[Float[Tensor, "*#R N _d"]]
    ) -> None:
        super().__init__(layers, activities[0])
        weights = [layer.affine.weight for layer in layers]
        system = OutputSystem.of(weights)
        self._z = [_many(activity) for activity in activities]
        self._w = [_many(weight) for weight in weights]
        self._e = [
            above - below @ weight.mT
            for weight, (below, above) in zip(self._w, pairwise(self._z), strict=True)
        ]
        self._to_output = [_many(product) for product in system.to_output()]
        self._system = replace(system, factor=_many(system.factor))

    def multiply(self, directions: Directions) -> Directions:
        """Multiply a block of vectors."""
        z, w, e = self._z, self._w, self._e
        pushed = [_pushed(v, below) for below, v in zip(z, directions, strict=False)]
        # Errors as they would move if the output error did not: c_L = 0, then down the layers.
        moved = [torch.zeros_like(pushed[-1])]
        for weight, v, error in zip(w[:0:-1], directions[:0:-1], e[:0:-1], strict=True):
            moved.append(moved[-1] @ weight + error @ v)
        moved.reverse()
        # The output then misses its clamp by this much, ...
        missed = pushed[0] + moved[0]
        for weight, push, move in zip(w[1:], pushed[1:], moved[1:], strict=True):
            missed = missed @ weight.mT + push + move
        # ... which the output error makes good, as S e_L = r does in inference.
        output = -self._system.solve(missed)
        de = [
            move + output @ product for move, product in zip(moved, self._to_output, strict=False)
        ]
        de.append(moved[-1] + output)
        dz = [torch.zeros_like(z[0])]
        for weight, push, error in zip(w[:-1], pushed, de, strict=False):
            dz.append(dz[-1] @ weight.mT + push + error)
        return [
            -(_gradient(d_error, below) + error.mT @ d_below) / z[0].shape[-2]
            for d_error, below, error, d_below in zip(de, z, e, dz, strict=False)
        ]


def _pushed(v: Float[Tensor, "*#R K _out _inp"], z: Tensor) -> Tensor:
    """``V z`` of every direction: one product of all rows, where there are no replicas."""
    if v.dim() > 3:
        return z @ v.mT
    count, out, inputs = v.shape
    rows = v.reshape(count * out, inputs) @ z.mT
    return rows.reshape(count, out, z.shape[0]).mT


def _gradient(e: Float[Tensor, "*#R K N _out"], z: Tensor) -> Tensor:
    """``eᵀ z`` of every direction, likewise."""
    if e.dim() > 3:
        return e.mT @ z
    count, samples, out = e.shape
    rows = e.mT.reshape(count * out, samples) @ z
    return rows.reshape(count, out, z.shape[1])


def _many(tensor: Float[Tensor, "*#R _a _b"]) -> Float[Tensor, "*broadcast _a _b"]:
    """Make room for the axis of directions behind the replicas; a matrix broadcasts as it is."""
    return tensor.unsqueeze(-3) if tensor.dim() > 2 else tensor


Hidden = list[Float[Tensor, "*#R K N _d"]]

# Steps of conjugate gradients, at most; and the residual asked for, in units of the dtype's
# epsilon: what rounding leaves of a system whose condition number is in the hundreds.
_MAX_STEPS = 200
_EPSILONS = 16.0


class ImplicitEnergyHessian(BlockedHessian):
    """``∇²𝓕*`` at equilibrium, its inner systems solved to what the dtype allows unless said."""

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
        self._factor = output_factor(at.through, precision)
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
