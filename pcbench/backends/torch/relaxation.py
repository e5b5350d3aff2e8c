"""What every engine works on: a network between a clamped input and a clamped output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pcbench.backends.torch.exact import relative
from pcbench.backends.torch.layers import Layer, Linearisation
from pcbench.contract.model import Inference

Batch = Float[Tensor, "*#R N _d"]


class Relaxation:
    """A network, a batch, expanded to the replicas of the layers, and how much each output counts.

    Where the precision is 0, what stands in ``y`` is not looked at.
    """

    def __init__(
        self, layers: Sequence[Layer], x: Batch, y: Batch, precision: Batch | None
    ) -> None:
        self.layers, self.x, self.precision = list(layers), x, precision
        self.y = y if precision is None else torch.where(precision > 0, y, 0)
        # Of a clamped input the first layer, often the widest, makes the same every time.
        self._first = layers[0].at(x)

    def weigh(self, output_error: Tensor) -> Tensor:
        """``π e_L``, for one error a sample."""
        return output_error if self.precision is None else output_error * self.precision

    def at(self, hidden: Sequence[Batch]) -> View:
        """Look at hidden activities ``z_1 … z_{L-1}``."""
        activities = [self.x, *hidden]
        above_first = zip(self.layers[1:], hidden, strict=True)
        tangents = [self._first, *(layer.at(z) for layer, z in above_first)]
        errors = [
            above - tangent.value
            for above, tangent in zip([*hidden, self.y], tangents, strict=True)
        ]
        return View(self, activities, tangents, errors)

    def roll_out(self, hidden_errors: Sequence[Batch]) -> View:
        """Look at the activities that have these errors, ``z_l = f_l(z_{l-1}) + e_l``."""
        activities, tangents = [self.x], [self._first]
        for layer, error in zip(self.layers[1:], hidden_errors, strict=True):
            activities.append(tangents[-1].value + error)
            tangents.append(layer.at(activities[-1]))
        errors = [*hidden_errors, self.y - tangents[-1].value]
        return View(self, activities, tangents, errors)

    def feedforward(self) -> View:
        """Look at the activities where every hidden error is zero."""
        activities, tangents = [self.x], [self._first]
        for layer in self.layers[1:]:
            activities.append(tangents[-1].value)
            tangents.append(layer.at(activities[-1]))
        errors = [torch.zeros_like(hidden) for hidden in activities[1:]]
        return View(self, activities, tangents, [*errors, self.y - tangents[-1].value])


@dataclass(frozen=True, slots=True)
class View:
    """The network at activities ``z_0 … z_{L-1}``: the layers linearised there, ``e_1 … e_L``."""

    relaxation: Relaxation
    activities: list[Batch]
    tangents: list[Linearisation]
    errors: list[Batch]

    @property
    def forces(self) -> list[Batch]:
        """``∂(N𝓕)/∂e_l``: the errors, the last one weighted by its precision."""
        return [*self.errors[:-1], self.relaxation.weigh(self.errors[-1])]

    def slopes(self) -> list[Batch]:
        """``∂(N𝓕)/∂z_l = e_l - J_{l+1}ᵀ (π e)_{l+1}`` of the hidden layers."""
        return [
            error - tangent.pull(after)
            for tangent, (error, after) in zip(
                self.tangents[1:], pairwise(self.forces), strict=True
            )
        ]

    def curve(self, moves: Sequence[Batch]) -> list[Batch]:
        """``H v``: what moves of the hidden activities change the slopes by.

        ``H = ∂²(N𝓕)/∂z²`` without second derivatives of the activation: all of it where linear.
        """
        pushed = [tangent.push(v) for tangent, v in zip(self.tangents[1:], moves, strict=True)]
        errors = [moves[0], *(v - below for v, below in zip(moves[1:], pushed, strict=False))]
        forces = [*errors[1:], self.relaxation.weigh(-pushed[-1])]
        return [
            error - tangent.pull(after)
            for tangent, error, after in zip(self.tangents[1:], errors, forces, strict=True)
        ]

    def energies(self) -> Float[Tensor, "*#R L"]:
        """``1/(2N) Σ_n ‖e_l‖²`` for ``l = 1 … L``."""
        squares = [
            (error * force).sum(dim=(-2, -1))
            for error, force in zip(self.errors, self.forces, strict=True)
        ]
        return torch.stack(squares, dim=-1) / (2 * self.relaxation.y.shape[-2])

    def sample_energies(self) -> Float[Tensor, "*#R N"]:
        """``½ Σ_l ‖e_l‖²`` of every sample."""
        total = torch.zeros_like(self.errors[-1][..., 0])
        for error, force in zip(self.errors, self.forces, strict=True):
            total = total + (error * force).sum(-1)
        return total / 2

    def ending(self) -> list[Batch]:
        """All activities; the output clamped, and as predicted where it is not observed."""
        output, precision = self.relaxation.y, self.relaxation.precision
        if precision is not None:
            output = torch.where(precision > 0, output, self.tangents[-1].value)
        return [*self.activities, output]


def squared_norms(slopes: Sequence[Batch], like: Batch) -> Float[Tensor, "*#R N"]:
    """``‖∂(N𝓕)/∂z‖²`` over all hidden activities of every sample."""
    total = torch.zeros_like(like[..., 0])
    for slope in slopes:
        total = total + slope.square().sum(-1)
    return total


def chosen(
    samples: Bool[Tensor, "*#R #N"], theirs: Sequence[Batch], ours: Sequence[Batch]
) -> list[Batch]:
    """Take theirs for the samples chosen, ours for the others."""
    where = samples.unsqueeze(-1)
    return [torch.where(where, a, b) for a, b in zip(theirs, ours, strict=True)]


class Progress:
    """How far an engine has come: residuals relative to the start, the path, the price.

    It starts at the feedforward activities. All of a replica together have to reach the residual,
    or, ``by_sample``, every sample by itself. Those that are ``over`` need no further step: they
    have arrived, or gone to infinity. An engine that gives up on one adds it, after every ``meet``.
    ``squares`` are ``‖∂(N𝓕)/∂z‖²`` of every sample.
    """

    over: Bool[Tensor, "*#R"] | Bool[Tensor, "*#R N"]
    squares: Float[Tensor, "*#R N"]

    def __init__(
        self, start: View, residual: float, *, record: bool, by_sample: bool = False
    ) -> None:
        self._asked, self._by_sample = residual, by_sample
        self._path: list[Tensor] | None = [] if record else None
        self._start: Tensor | None = None
        self.passes = 1.0
        self.step = 0
        self.meet(start, start.slopes())

    def meet(self, view: View, slopes: Sequence[Batch]) -> None:
        """Take note of a view, and of what is over there."""
        self.squares = squares = squared_norms(slopes, like=view.errors[-1])
        if self._start is None:
            self._start = squares
        self._samples = relative(squares, self._start)
        self._whole = relative(squares.sum(-1), self._start.sum(-1))
        if self._path is not None:
            self._path.append(view.energies())
        # NaN is neither above nor below anything: it is over, and has not arrived.
        self.over = ~((self._residuals > self._asked) & (self._residuals < inf))

    @property
    def ended(self) -> bool:
        """Whether all is over."""
        return bool(self.over.all())

    def hold(self, moved: Sequence[Batch], stayed: Sequence[Batch]) -> Sequence[Batch]:
        """Let no replica move that is over: each is to end as it would alone."""
        if not self.over.dim():  # a batch without replicas that is over has ended
            return moved
        return chosen(~self.over.unsqueeze(-1), moved, stayed)

    def close(self, view: View) -> Inference[Tensor]:
        """Return where inference ended."""
        energies = view.energies()
        arrived = (self._residuals <= self._asked).all() & energies.isfinite().all()
        return Inference(
            activities=view.ending(),
            energies=energies,
            steps=self.step,
            residual=self._whole,
            converged=bool(arrived),
            passes=self.passes,
            sample_residuals=self._samples,
            path=None if self._path is None else torch.stack(self._path, dim=-2),
        )

    @property
    def _residuals(self) -> Tensor:
        """The residuals that have to come down."""
        return self._samples if self._by_sample else self._whole
