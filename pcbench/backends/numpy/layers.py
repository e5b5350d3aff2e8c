"""The layers of a network: their values and their derivatives at the activities of a batch.

A convolution is the matrix that it is, mostly of zeros: assembled, entry by entry, from its
definition, and from then on no different from a fully connected layer. Activations take complex
numbers too, and tell the sides of a kink by the real part, so that derivatives can be taken by
complex steps (:class:`~pcbench.backends.numpy.hessians.UnrolledHessian`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import prod
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from jaxtyping import Inexact, Int

from pcbench.networks import Convolution, NetworkSpec, activation
from pcbench.networks import Layer as Shape

Entries = Inexact[np.ndarray, "..."]


@dataclass(frozen=True, slots=True)
class Phi:
    """An activation ``φ``, entry by entry.

    At its kink a rectifier has the slope of its left side, and no curvature. ``steepest`` is a
    bound on ``|φ'|``.
    """

    value: Callable[[Entries], Entries]
    slope: Callable[[Entries], Entries]
    curvature: Callable[[Entries], Entries]
    steepest: float = 1.0


class _Analytic:
    """NumPy, where ``abs`` continues ``|a|`` of real numbers to complex ones beside them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def abs(a: Entries) -> Entries:
        return np.where(a.real > 0, a, -a) if np.iscomplexobj(a) else np.abs(a)


IDENTITY = Phi(lambda a: a, np.ones_like, np.zeros_like)


def phi(name: str) -> Phi:
    """Return an activation by name."""
    if name == "identity":
        return IDENTITY
    row, functions = activation(name), _Analytic()
    value, slope, curvature = (partial(f, functions) for f in (row.value, row.slope, row.curvature))
    return Phi(value, slope, curvature, row.max_slope)


Batch = Inexact[np.ndarray, "N _d"]
# Of a fully connected layer an array, of a convolution mostly zeros.
Matrix: TypeAlias = Inexact[np.ndarray, "_rows _columns"] | sp.sparray


class AffineMap:
    """``z ↦ A z + b``, where every entry of ``A`` and ``b`` is a parameter, or zero.

    ``A`` is ``(d_out, d_in)``, before pooling; sparse if it is that of a convolution. The offset is
    ``b`` at every output, or zeros.
    """

    def __init__(self, shape: Shape, weight: Entries, bias: Entries | None) -> None:
        self.shape, self.weight, self.bias = shape, weight, bias
        self.matrix: Matrix
        if isinstance(shape, Convolution):
            rows, columns, which = entries(shape)
            outputs, places = shape.channels * _places(shape), _places(shape)
            self.matrix = sp.csr_array(
                (weight.ravel()[which], (rows, columns)), shape=(outputs, shape.inputs)
            )
        else:
            self.matrix, outputs, places = weight, shape.outputs, 1
        self.offset = np.zeros(outputs) if bias is None else np.repeat(bias, places)

    def __call__(self, z: Batch) -> Batch:
        """``A z + b``, for every row."""
        value: Batch = z @ self.matrix.T + self.offset
        return value

    def push(self, v: Batch) -> Batch:
        """``A v``."""
        pushed: Batch = v @ self.matrix.T
        return pushed

    def pull(self, q: Batch) -> Batch:
        """``Aᵀ q``."""
        pulled: Batch = q @ self.matrix
        return pulled

    def weight_gradient(self, s: Batch, q: Batch) -> Entries:
        """``Σ_n q_nᵀ ∂(A s_n)/∂W``, in the weight's shape.

        An entry of ``A`` that is the weight ``w`` adds ``q_row s_column`` to the derivative in
        ``w``.
        """
        if not isinstance(self.shape, Convolution):
            dense: Entries = q.T @ s
            return dense
        rows, columns, which = entries(self.shape)
        each = np.zeros(len(rows), np.result_type(q, s))
        for sample_q, sample_s in zip(q, s, strict=True):
            each += sample_q[rows] * sample_s[columns]
        gradient = np.zeros(self.weight.size, each.dtype)
        np.add.at(gradient, which, each)
        in_shape: Entries = gradient.reshape(self.weight.shape)
        return in_shape

    def bias_gradient(self, q: Batch) -> Entries:
        """``Σ_n q_n``, and over all places that share a bias."""
        if isinstance(self.shape, Convolution):
            q = q.reshape(len(q), self.shape.channels, _places(self.shape)).sum(2)
        gradient: Entries = q.sum(0)
        return gradient


@lru_cache(maxsize=32)
def entries(
    shape: Convolution,
) -> tuple[Int[np.ndarray, " K"], Int[np.ndarray, " K"], Int[np.ndarray, " K"]]:
    """Where the matrix of a convolution has weights: rows, columns, and which weight it is.

    ``out[o, i, j] = Σ_{c, p, q} weight[o, c, p, q] image[c, i + p - m, j + q - m]``, where ``m =
    (kernel - 1)/2`` is the margin; outside of the image there is nothing.
    """
    _, height, width = shape.image
    o, c, p, q, i, j = np.indices((*shape.weight_shape, height, width)).reshape(6, -1)
    margin = (shape.kernel - 1) // 2
    down, across = i + p - margin, j + q - margin
    inside = (down >= 0) & (down < height) & (across >= 0) & (across < width)
    rows = np.ravel_multi_index((o, i, j), (shape.channels, height, width))[inside]
    columns = np.ravel_multi_index((c[inside], down[inside], across[inside]), shape.image)
    which = np.ravel_multi_index((o, c, p, q), shape.weight_shape)[inside]
    return rows, columns, which


def _places(shape: Convolution) -> int:
    return prod(shape.image[1:])


def winners(shape: Convolution, z: Inexact[np.ndarray, "N d_mid"]) -> Int[np.ndarray, "N d_out"]:
    """Position, in the flat image, of the largest of every window; the first of equal ones.

    First in the order row by row. Of complex numbers the real parts count.
    """
    _, height, width = shape.image
    pool, (channels, down, across) = shape.pool, shape.output_image
    positions = np.arange(channels * height * width)
    windows = (
        positions.reshape(channels, down, pool, across, pool)
        .transpose(0, 1, 3, 2, 4)
        .reshape(shape.outputs, pool * pool)
    )
    first = z.real[:, windows].argmax(axis=2)
    won: Int[np.ndarray, "N d_out"] = windows[np.arange(shape.outputs), first]
    return won


@dataclass(frozen=True, slots=True)
class Layer:
    """``f(z) = pool(φ_out(A φ_in(z) + b))``, where at most one ``φ`` is not the identity.

    ``φ_in`` stands before ``A`` (the ``pre`` convention), ``φ_out`` after it (``post``).
    """

    affine: AffineMap
    before: Phi = IDENTITY
    after: Phi = IDENTITY

    @property
    def pools(self) -> bool:
        """Whether there is a choice of winners."""
        shape = self.affine.shape
        return isinstance(shape, Convolution) and shape.pool > 1

    @property
    def is_affine(self) -> bool:
        """Whether it has the same derivative everywhere."""
        return self.before is self.after is IDENTITY and not self.pools

    def at(self, z: Batch) -> LayerAt:
        """Evaluate at a batch of inputs."""
        seen = self.before.value(z)
        potential = self.affine(seen)
        reached = self.after.value(potential)
        shape, won = self.affine.shape, None
        if isinstance(shape, Convolution) and shape.pool > 1:
            won = winners(shape, reached)
            reached = np.take_along_axis(reached, won, axis=1)
        return LayerAt(self, z, seen, potential, reached, won)


@dataclass(frozen=True, slots=True)
class LayerAt:
    """A layer at a batch of inputs: ``s = φ_in(z)`` is seen, ``a = A s + b`` is the potential.

    ``won`` is, for each output, the entry of ``φ_out(a)`` that it is; ``None`` where nothing is
    pooled.
    """

    layer: Layer
    z: Batch
    seen: Batch
    potential: Batch
    value: Batch
    won: Int[np.ndarray, "N d_out"] | None

    @property
    def inner(self) -> Batch:
        """``φ_in'(z)``."""
        return self.layer.before.slope(self.z)

    @property
    def outer(self) -> Batch:
        """``φ_out'(a)``."""
        return self.layer.after.slope(self.potential)

    def pool(self, v: Batch) -> Batch:
        """Let the winners through."""
        return v if self.won is None else np.take_along_axis(v, self.won, axis=1)

    def unpool(self, e: Batch) -> Batch:
        """Put every entry where its winner is, and zeros elsewhere."""
        if self.won is None:
            return e
        spread = np.zeros(self.potential.shape, e.dtype)
        np.put_along_axis(spread, self.won, e, axis=1)
        return spread

    def to_potential(self, e: Batch) -> Batch:
        """``q = (∂f/∂a)ᵀ e``."""
        q: Batch = self.outer * self.unpool(e)
        return q

    def pull(self, e: Batch) -> Batch:
        """``Jᵀ e``, with ``J = ∂f/∂z``."""
        pulled: Batch = self.inner * self.layer.affine.pull(self.to_potential(e))
        return pulled

    def gradients(self, e: Batch) -> tuple[Entries, Entries | None]:
        """``Σ_n (∂f/∂W)ᵀ e_n``, and the same of the bias, if there is one."""
        affine, q = self.layer.affine, self.to_potential(e)
        bias = None if affine.bias is None else affine.bias_gradient(q)
        return affine.weight_gradient(self.seen, q), bias

    def jacobian(self, sample: int) -> Matrix:
        """``J = Pool diag(φ_out') A diag(φ_in')`` of a sample, written down."""
        won = slice(None) if self.won is None else self.won[sample]
        rows = self.layer.affine.matrix[won]
        return scaled(self.outer[sample, won], rows, self.inner[sample])

    def bend(self, e: Batch, sample: int) -> Matrix:
        """``Σ_k e_k ∂²f_k/∂z²`` of a sample: ``Aᵀ diag(φ_out'' ẽ) A`` or ``diag(φ_in'' Aᵀ ẽ)``.

        ``ẽ`` is ``e`` unpooled. Winners stay, and kinks have no curvature.
        """
        affine, pooled = self.layer.affine, self.unpool(e)[sample]
        outside = self.layer.after.curvature(self.potential[sample]) * pooled
        inside = self.layer.before.curvature(self.z[sample]) * (pooled @ affine.matrix)
        ones = np.ones(len(inside))
        bent: Matrix = affine.matrix.T @ scaled(outside, affine.matrix, ones)
        return bent + sp.diags_array(inside)


def scaled(rows: Entries, matrix: Matrix, columns: Entries) -> Matrix:
    """``diag(rows) matrix diag(columns)``."""
    if isinstance(matrix, np.ndarray):
        product: Matrix = rows[:, None] * matrix * columns
        return product
    return sp.diags_array(rows) @ matrix @ sp.diags_array(columns)


def make_layers(network: NetworkSpec, parameters: Sequence[Entries]) -> list[Layer]:
    """Put ``φ`` where the network's convention has it."""
    bent, last = phi(network.activation), network.n_layers - 1
    weights, biases = split(network.n_layers, parameters)
    layers = []
    for index, (shape, weight, bias) in enumerate(
        zip(network.layers, weights, biases, strict=True)
    ):
        before = after = IDENTITY
        if network.convention == "pre" and index > 0:
            before = bent
        if network.convention == "post" and index < last:
            after = bent
        layers.append(Layer(AffineMap(shape, weight, bias), before, after))
    return layers


def split(
    depth: int, parameters: Sequence[Entries]
) -> tuple[Sequence[Entries], Sequence[Entries | None]]:
    """Take weights and biases apart; a ``None`` a layer where there are no biases."""
    nothing: list[Entries | None] = [None] * depth
    return parameters[:depth], parameters[depth:] or nothing


def along(layers: Sequence[Layer], parameters: Sequence[Entries]) -> list[Layer]:
    """Return the layers with other parameters: with a direction of them, as well."""
    return [
        replace(layer, affine=AffineMap(layer.affine.shape, weight, bias))
        for layer, weight, bias in zip(layers, *split(len(layers), parameters), strict=True)
    ]


def parameters_of(layers: Iterable[Layer]) -> list[Entries]:
    """``W_1 … W_L``, then ``b_1 … b_L`` where there are biases."""
    return in_order((layer.affine.weight, layer.affine.bias) for layer in layers)


def in_order(pairs: Iterable[tuple[Entries, Entries | None]]) -> list[Entries]:
    """From a weight and a bias a layer to all weights, then all biases."""
    pairs = list(pairs)
    return [weight for weight, _ in pairs] + [bias for _, bias in pairs if bias is not None]
