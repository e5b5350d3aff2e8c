"""A network between a clamped input and a clamped output, and what it is at given activities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Inexact

from pcbench.backends.numpy.layers import Layer, LayerAt
from pcbench.backends.numpy.maps import Batch, Entries
from pcbench.backends.numpy.network import in_order


@dataclass(frozen=True, slots=True)
class Clamped:
    """What inference is given.

    Attributes
    ----------
    layers
        ``f_1 … f_L``.
    x, y
        The batch; targets that are not observed are 0, whatever was given for them.
    precision
        ``Π``, a number for each output; ones where none was given.
    """

    layers: Sequence[Layer]
    x: Batch
    y: Batch
    precision: Float[np.ndarray, "N d_L"]

    @classmethod
    def of(cls, layers: Sequence[Layer], x: Batch, y: Batch, precision: Batch | None) -> Clamped:
        """Clamp a batch."""
        if precision is None:
            return cls(layers, x, y, np.ones(y.shape))
        return cls(layers, x, np.where(precision > 0, y, 0.0), precision)

    def sample(self, n: int) -> Clamped:
        """Return a batch of one sample."""
        one = slice(n, n + 1)
        return Clamped(self.layers, self.x[one], self.y[one], self.precision[one])

    def at(self, hidden: Sequence[Batch]) -> State:
        """Look at hidden activities ``z_1 … z_{L-1}``."""
        below = [self.x, *hidden]
        return State(self, [layer.at(z) for layer, z in zip(self.layers, below, strict=True)])

    def roll_out(self, errors: Sequence[Batch]) -> State:
        """Look at the activities that have these hidden errors, ``z_l = f_l(z_{l-1}) + e_l``."""
        evaluated = [self.layers[0].at(self.x)]
        for layer, error in zip(self.layers[1:], errors, strict=True):
            evaluated.append(layer.at(evaluated[-1].value + error))
        return State(self, evaluated)

    def feedforward(self) -> State:
        """Look at the activities where every hidden error is zero."""
        return self.roll_out([np.zeros((1, 1))] * (len(self.layers) - 1))


@dataclass(frozen=True, slots=True)
class State:
    """The network at hidden activities.

    Attributes
    ----------
    clamped
        The batch.
    evaluated
        Every layer at its input.
    """

    clamped: Clamped
    evaluated: list[LayerAt]

    @property
    def hidden(self) -> list[Batch]:
        """``z_1 … z_{L-1}``."""
        return [layer.z for layer in self.evaluated[1:]]

    @property
    def errors(self) -> list[Batch]:
        """``e_l = z_l - f_l(z_{l-1})`` for ``l = 1 … L``; 0 of outputs that are not observed."""
        above = [*self.hidden, self.clamped.y]
        errors = [z - layer.value for z, layer in zip(above, self.evaluated, strict=True)]
        errors[-1] = np.where(self.clamped.precision > 0, errors[-1], 0.0)
        return errors

    @property
    def forces(self) -> list[Batch]:
        """``∂(N𝓕)/∂e_l``: the errors, those of the output weighed by their precision."""
        *hidden, output = self.errors
        return [*hidden, self.clamped.precision * output]

    def slopes(self) -> list[Batch]:
        """``∂(N𝓕)/∂z_l = e_l - J_{l+1}ᵀ (Π e)_{l+1}`` of the hidden layers."""
        return [
            force - above.pull(beyond)
            for above, (force, beyond) in zip(
                self.evaluated[1:], pairwise(self.forces), strict=True
            )
        ]

    def gradients(self) -> list[Entries]:
        """``∂(N𝓕)/∂W_l``, then ``∂(N𝓕)/∂b_l``: local to each layer."""
        return in_order(
            layer.gradients(-force)
            for layer, force in zip(self.evaluated, self.forces, strict=True)
        )

    def sample_energies(self) -> Inexact[np.ndarray, "N L"]:
        """``½ e_lᵀ Π e_l`` of every sample and layer."""
        pairs = zip(self.errors, self.forces, strict=True)
        return np.stack([np.sum(e * f, axis=1) / 2 for e, f in pairs], axis=1)

    def energies(self) -> Inexact[np.ndarray, " L"]:
        """``1/(2N) Σ_n e_lᵀ Π e_l`` for ``l = 1 … L``."""
        samples = self.sample_energies()
        energies: Inexact[np.ndarray, " L"] = samples.sum(0) / np.float64(len(samples))
        return energies

    def moved(self, moves: Sequence[Batch]) -> State:
        """Look at ``z + δz``."""
        return self.clamped.at([z + dz for z, dz in zip(self.hidden, moves, strict=True)])

    def ending(self) -> list[Batch]:
        """``z_0 … z_L``: the output clamped, and as predicted where it is not observed."""
        clamped, predicted = self.clamped, self.evaluated[-1].value
        output = np.where(clamped.precision > 0, clamped.y, predicted)
        return [clamped.x, *self.hidden, output]


def side_by_side(layers: Sequence[Batch], like: Batch) -> Inexact[np.ndarray, "N n_hidden"]:
    """All hidden layers of a sample in one row."""
    return np.concatenate([like[:, :0], *layers], axis=1)


def by_layer(rows: Inexact[np.ndarray, "N n_hidden"], like: Sequence[Batch]) -> list[Batch]:
    """Take a row apart into hidden layers."""
    ends = np.cumsum([layer.shape[1] for layer in like])
    return np.split(rows, ends[:-1], axis=1) if like else []
