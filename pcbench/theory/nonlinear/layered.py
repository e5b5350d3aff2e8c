r"""Non-linear networks by the definition of the energy (§1): layers, errors, slopes.

Every layer is an activation, an affine map, an activation and a pooling, in this order,

.. math::
    f_l(z) = \mathrm{pool}_l(φ^{out}_l(a)), \qquad a = A_l u + b_l, \qquad u = φ^{in}_l(z),

of which the convention leaves out all but one activation or both; ``A_l`` is a matrix or a
convolution, and only convolutions pool. The transposed derivative takes the same steps backwards.
Activities are flat, one sample a row, images in the order channel, row, column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pcbench.theory.arrays import Batch, Inputs, Targets, Units
from pcbench.theory.nonlinear.activations import (
    ACTIVATIONS,
    STEEPEST,
    Activation,
    Formula,
    activate,
    activation_slope,
)

Rows = Float[np.ndarray, "_rows _terms"]
Matrix = Float[np.ndarray, "_out _inp"]
Kernels = Float[np.ndarray, "_out _inp _k _k"]


@dataclass(frozen=True, slots=True)
class LinearMap:
    """``u ↦ A_l u``, sample by sample, as the matrix product that it is: each row by a column.

    The rows of a convolution are the patches of its images, one a place.
    """

    weight: Matrix | Kernels  # A_l, or the kernels of a convolution
    image: tuple[int, int, int] | None = None  # what enters a convolution

    @property
    def side(self) -> int:
        """``k``: an entry of an image is seen by up to ``k²`` places; of a matrix, 1."""
        return 1 if self.image is None else int(self.weight.shape[-1])

    @property
    def columns(self) -> Rows:
        """``A_lᵀ`` as a matrix, ``(c k k, o)`` of a convolution."""
        return self.weight.reshape(len(self.weight), -1).T

    @property
    def force_columns(self) -> Rows:
        """``A_l`` as the matrix that pulls forces back, flipped: ``(o k k, c)``."""
        if self.image is None:
            return self.weight
        flipped = self.weight[:, :, ::-1, ::-1].transpose(0, 2, 3, 1)
        return flipped.reshape(-1, self.weight.shape[1])

    def rows(self, units: Units) -> Rows:
        """What a product takes of ``u``, or of forces: themselves, or their patches."""
        if self.image is None:
            return units
        kernel, (_, height, width) = self.weight.shape[-1], self.image
        images, margin = units.reshape(len(units), -1, height, width), (kernel - 1) // 2
        padded = np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
        return patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1] * kernel**2)

    def by_place(self, units: Units) -> Rows:
        """One row a place of the image, its channels in it: ``(N h w, channels)``."""
        if self.image is None:
            return units
        _, height, width = self.image
        images = units.reshape(len(units), -1, height * width)
        return images.swapaxes(1, 2).reshape(-1, images.shape[1])

    def by_sample(self, rows: Rows) -> Units:
        """Undo ``by_place``."""
        if self.image is None:
            return rows
        _, height, width = self.image
        places = rows.reshape(-1, height * width, rows.shape[1])
        return places.swapaxes(1, 2).reshape(len(places), -1)

    def apply(self, u: Units) -> Units:
        """``A_l u``."""
        return self.by_sample(self.rows(u) @ self.columns)

    def pull_back(self, force: Units) -> Units:
        """``A_lᵀ force``."""
        return self.by_sample(self.rows(force) @ self.force_columns)

    def gradient(self, u: Units, force: Units) -> Matrix | Kernels:
        """``Σ_n (∂(A_l u_n)/∂A_l)ᵀ force_n``."""
        gradient: Matrix = self.by_place(force).T @ self.rows(u)
        return gradient.reshape(self.weight.shape)


CONVENTIONS = ("post", "pre")
Vector = Float[np.ndarray, " _d"]
Windows = Float[np.ndarray, "_N _c _rows _columns _entries"]
Precision = Float[np.ndarray, "..."] | Bool[np.ndarray, "..."] | float
"""One entry an output unit and sample, ``(N, d_L)``, or what broadcasts to that."""


@dataclass(frozen=True, slots=True)
class Layered:
    """A network of convolutions, if any, and then dense layers.

    ``post``: ``f_l(z) = φ(A_l z + b_l)``, output ``f_L(z) = A_L z + b_L``. ``pre``: ``f_1(z) =
    A_1 z + b_1``, then ``f_l(z) = A_l φ(z) + b_l``. Pooling comes last in either.
    """

    # A_l is (d_l, d_{l-1}), of a convolution (channels, channels in, k, k).
    weights: Sequence[Matrix | Kernels]
    biases: Sequence[Vector] | None  # of a convolution one entry a channel
    activation: Activation
    convention: str
    # (channels, height, width) of what enters each convolution, of stride 1 and odd k, padded with
    # (k - 1) / 2 zeros, kernels not flipped.
    images: Sequence[tuple[int, int, int]] = ()
    pools: Sequence[int] = ()  # sides of pooling windows, which do not overlap; 1 pools nothing

    def __post_init__(self) -> None:
        known = isinstance(self.activation, Formula) or self.activation in ACTIVATIONS
        if not known or self.convention not in CONVENTIONS:
            raise ValueError(f"no activation {self.activation} or no convention {self.convention}")
        if self.biases is not None and len(self.biases) != len(self.weights):
            raise ValueError(f"{len(self.biases)} biases for {len(self.weights)} layers")
        if len(self.pools) not in (0, len(self.images)):
            raise ValueError(f"{len(self.pools)} pools for {len(self.images)} convolutions")
        for weight, (channels, height, width), pool in zip(
            self.weights, self.images, self.pools or [1] * len(self.images), strict=False
        ):
            if weight.ndim != 4 or weight.shape[1] != channels or weight.shape[2] % 2 == 0:
                raise ValueError(f"{weight.shape} are no odd kernels for {channels} channels")
            if weight.shape[2] != weight.shape[3] or height % pool or width % pool:
                raise ValueError("a kernel is not square, or an image not divided by its pool")
        if len(self.images) > len(self.weights) or any(
            weight.ndim != 2 for weight in self.weights[len(self.images) :]
        ):
            raise ValueError("give the shape of what enters each convolution, and of nothing else")

    @property
    def depth(self) -> int:
        """``L``."""
        return len(self.weights)

    @property
    def steepest(self) -> float:
        """A bound on ``|φ'|``, at least ``STEEPEST``."""
        if isinstance(self.activation, Formula):
            return max(STEEPEST, self.activation.steepest)
        return STEEPEST

    def activations(self, l: int) -> tuple[Activation, Activation]:
        """``φᶦⁿ`` and ``φᵒᵘᵗ`` of layer ``l``, numbered from 1."""
        if not 1 <= l <= self.depth:
            raise ValueError(f"there is no layer {l} in a network of {self.depth}")
        before = self.convention == "pre" and l > 1
        after = self.convention == "post" and l < self.depth
        return self.activation if before else "identity", self.activation if after else "identity"

    def is_convolution(self, l: int) -> bool:
        """Whether layer ``l`` is one."""
        return l <= len(self.images)

    def linear(self, l: int) -> LinearMap:
        """``u ↦ A_l u``, of a convolution before it is pooled."""
        image = self.images[l - 1] if self.is_convolution(l) else None
        return LinearMap(self.weights[l - 1], image)


def layer(
    network: Layered, l: int, z: Float[np.ndarray, "N d_below"]
) -> Float[np.ndarray, "N d_l"]:
    """``f_l(z)``."""
    _, after = network.activations(l)
    value = activate(after, potential(network, l, z))
    return pool_with(network, l, value, value)


def pull_back(
    network: Layered, l: int, z: Float[np.ndarray, "N d_below"], e: Float[np.ndarray, "N d_l"]
) -> Float[np.ndarray, "N d_below"]:
    """``(∂f_l/∂z)ᵀ e`` at ``z``, sample by sample."""
    before, _ = network.activations(l)
    at_input = network.linear(l).pull_back(pull_back_to_potential(network, l, z, e))
    pulled: Batch = activation_slope(before, z) * at_input
    return pulled


def parameter_gradient(
    network: Layered, l: int, z: Float[np.ndarray, "N d_below"], e: Float[np.ndarray, "N d_l"]
) -> tuple[Matrix | Kernels, Vector | None]:
    """``Σ_n (∂f_l/∂A_l)ᵀ e_n`` and ``Σ_n (∂f_l/∂b_l)ᵀ e_n``; ``None`` without biases."""
    before, _ = network.activations(l)
    driven, force = activate(before, z), pull_back_to_potential(network, l, z, e)
    by_weight = network.linear(l).gradient(driven, force)
    return by_weight, bias_gradient(network, l, force)


def feedforward(network: Layered, x: Inputs) -> list[Batch]:
    """``z_0 … z_L`` of a forward pass, from ``z_0 = x``; ``z_L`` is the prediction."""
    activities = [x]
    for l in range(1, network.depth + 1):
        activities.append(layer(network, l, activities[-1]))
    return activities


def potentials(network: Layered, activities: Sequence[Batch]) -> list[Batch]:
    """``A_l φᶦⁿ(z_{l-1}) + b_l`` for ``l = 1 … L``, of a convolution before it is pooled."""
    return [potential(network, l, activities[l - 1]) for l in range(1, network.depth + 1)]


def layered_errors(network: Layered, activities: Sequence[Batch]) -> list[Batch]:
    """``e_l = z_l - f_l(z_{l-1})`` for ``l = 1 … L``."""
    return [
        activities[l] - layer(network, l, activities[l - 1]) for l in range(1, network.depth + 1)
    ]


def layered_energies(
    network: Layered, activities: Sequence[Batch], precision: Precision | None = None
) -> Float[np.ndarray, " L"]:
    """``1/(2N) Σ_n e_lᵀ π_l e_l`` for ``l = 1 … L``: what each layer adds to ``𝓕``.

    Hidden layers have precision 1; outputs of precision 0 may have targets that are no numbers.
    """
    errors = layered_errors(network, activities)
    errors[-1], weighted = weigh(errors[-1], precision)
    squares = [np.sum(e**2) for e in errors[:-1]] + [np.sum(errors[-1] * weighted)]
    return np.array(squares) / (2 * len(activities[0]))


def activity_residuals(
    network: Layered, activities: Sequence[Batch], precision: Precision | None = None
) -> list[Batch]:
    """``∂(N𝓕)/∂z_l = e_l - (∂f_{l+1}/∂z)ᵀ (π e)_{l+1}`` for the hidden layers, ``l < L``."""
    errors = weighted_errors(network, activities, precision)
    return [
        errors[l - 1] - pull_back(network, l + 1, activities[l], errors[l])
        for l in range(1, network.depth)
    ]


def energy_gradients(
    network: Layered, activities: Sequence[Batch], precision: Precision | None = None
) -> tuple[list[Matrix | Kernels], list[Vector] | None]:
    """``∂𝓕/∂A_l`` and ``∂𝓕/∂b_l``, activities held: ``-(1/N) Σ_n (∂f_l/∂θ_l)ᵀ (π e)_l``."""
    errors = weighted_errors(network, activities, precision)
    return _descend(network, activities, errors)


def layered_loss(
    network: Layered, x: Inputs, y: Targets, precision: Precision | None = None
) -> float:
    """``𝓛 = 1/(2N) Σ_n (y - ŷ)ᵀ π (y - ŷ)``."""
    error, weighted = weigh(y - feedforward(network, x)[-1], precision)
    return float(np.sum(error * weighted) / (2 * len(x)))


def layered_loss_gradients(
    network: Layered, x: Inputs, y: Targets, precision: Precision | None = None
) -> tuple[list[Matrix | Kernels], list[Vector] | None]:
    """``∂𝓛/∂A_l`` and ``∂𝓛/∂b_l``, by backpropagation of ``π (y - ŷ)``."""
    activities = feedforward(network, x)
    force = weigh(y - activities[-1], precision)[1]
    return _descend(network, activities, backpropagated(network, activities, force))


def backpropagated(network: Layered, activities: Sequence[Batch], force: Batch) -> list[Batch]:
    """``λ_1 … λ_L``, with ``λ_l = (∂f_{l+1}/∂z)ᵀ λ_{l+1}`` from the force ``λ_L`` down."""
    forces = [force]
    for l in range(network.depth, 1, -1):
        forces.insert(0, pull_back(network, l, activities[l - 1], forces[0]))
    return forces


def potential(network: Layered, l: int, z: Batch) -> Batch:
    """``A_l φᶦⁿ(z) + b_l``, of a convolution before it is pooled."""
    before, _ = network.activations(l)
    potential = network.linear(l).apply(activate(before, z))
    if network.biases is not None:
        bias = network.biases[l - 1]
        potential = potential + np.repeat(bias, potential.shape[1] // len(bias))
    return potential


def weigh(errors: Batch, precision: Precision | None) -> tuple[Batch, Batch]:
    """``e`` and ``π e``, where both are exactly 0 at entries of precision 0."""
    if precision is None:
        return errors, errors
    pi: Batch = np.broadcast_to(np.asarray(precision, np.float64), errors.shape)
    observed = np.where(pi == 0, 0.0, errors)  # nothing times nan would be nan
    return observed, pi * observed


def weighted_errors(
    network: Layered, activities: Sequence[Batch], precision: Precision | None = None
) -> list[Batch]:
    """``(π e)_l`` for ``l = 1 … L``: ``e_l`` in hidden layers, weighed at the output."""
    *hidden, output = layered_errors(network, activities)
    return [*hidden, weigh(output, precision)[1]]


def bias_gradient(network: Layered, l: int, force: Batch) -> Vector | None:
    """``Σ_n force_n``, over the places of a channel; ``None`` without biases."""
    if network.biases is None:
        return None
    total: Vector = force.sum(axis=0).reshape(len(network.biases[l - 1]), -1).sum(axis=1)
    return total


def _descend(
    network: Layered, activities: Sequence[Batch], errors: Sequence[Batch]
) -> tuple[list[Matrix | Kernels], list[Vector] | None]:
    """``-(1/N) Σ_n (∂f_l/∂θ_l)ᵀ e_l`` for ``l = 1 … L``: weights, and biases if there are any."""
    by_weights, by_biases = [], []
    for l in range(1, network.depth + 1):
        weight, bias = parameter_gradient(network, l, activities[l - 1], errors[l - 1])
        by_weights.append(-weight / len(activities[0]))
        if bias is not None:
            by_biases.append(-bias / len(activities[0]))
    return by_weights, None if network.biases is None else by_biases


def pull_back_to_potential(network: Layered, l: int, z: Batch, e: Batch) -> Batch:
    """``(∂f_l/∂a)ᵀ e``, where ``a`` is the potential ``A_l u + b_l``."""
    _, after = network.activations(l)
    if after == "identity" and not network.is_convolution(l):
        return e  # the slope is 1 wherever the potential is
    a = potential(network, l, z)
    force: Batch = activation_slope(after, a) * unpool(network, l, activate(after, a), e)
    return force


def pool_with(network: Layered, l: int, z: Batch, v: Batch) -> Batch:
    """Keep of ``v`` what stands where the maxima of ``z`` are: the first of equal ones.

    Dense layers pool nothing.
    """
    if not network.is_convolution(l):
        return v
    first = windows(network, l, z).argmax(axis=-1)[..., None]
    return np.take_along_axis(windows(network, l, v), first, axis=-1).reshape(len(v), -1)


def unpool(network: Layered, l: int, z: Batch, e: Batch) -> Batch:
    """Return each entry of ``e`` to where its window's maximum is: to the first of equal ones."""
    if not network.is_convolution(l):
        return e
    values = windows(network, l, z)
    first = values.argmax(axis=-1)[..., None]
    spread = np.zeros_like(values)
    np.put_along_axis(spread, first, e.reshape(first.shape), axis=-1)
    return from_windows(network, l, spread)


def windows(network: Layered, l: int, z: Batch) -> Windows:
    """Pooling windows, the entries of each row by row on the last axis; of dense layers, of one."""
    if not network.is_convolution(l):
        return z.reshape(len(z), -1, 1, 1, 1)
    side, (_, height, width) = _pool_side(network, l), network.images[l - 1]
    rows, columns = height // side, width // side
    tiles = z.reshape(len(z), -1, rows, side, columns, side).swapaxes(3, 4)
    return tiles.reshape(*tiles.shape[:4], side * side)


def from_windows(network: Layered, l: int, values: Windows) -> Batch:
    """Undo ``windows``: flat images, one sample a row."""
    if not network.is_convolution(l):
        return values.reshape(len(values), -1)
    side = _pool_side(network, l)
    tiles = values.reshape(*values.shape[:4], side, side)
    return tiles.swapaxes(3, 4).reshape(len(values), -1)


def _pool_side(network: Layered, l: int) -> int:
    return network.pools[l - 1] if network.pools else 1
