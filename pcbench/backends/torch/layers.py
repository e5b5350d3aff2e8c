"""The layers ``f_l`` of a network, their values and their derivatives at a point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from pcbench.backends.torch.maps import AffineMap, ConvolutionMap, Matrix, MaxPool
from pcbench.networks import LEAK, Convolution, NetworkSpec
from pcbench.networks import activation as table_row

Phi = Callable[[Tensor], tuple[Tensor, Tensor]]
"""``φ(a)`` and ``φ'(a)``, entry by entry; at a kink, the slope of its left side."""


def activation(name: str) -> Phi | None:
    """Return an activation by name; ``None`` for the identity.

    Those that come with pcbench are PyTorch's own functions; others are what the table says.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    row = table_row(name)
    slope = _with_derivative(partial(row.slope, torch), partial(row.curvature, torch))
    value = _with_derivative(partial(row.value, torch), slope)
    return lambda a: (value(a), slope(a))


Entrywise = Callable[[Tensor], Tensor]


def _with_derivative(function: Entrywise, derivative: Entrywise) -> Entrywise:
    """Return a function that is differentiated as told: ``|a|`` in a formula has a kink at 0."""

    class Told(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor) -> Tensor:
            ctx.save_for_backward(a)
            return function(a)

        @staticmethod
        def backward(ctx: Any, along: Tensor) -> Tensor:
            [a] = ctx.saved_tensors
            return along * derivative(a)

    told = cast(Entrywise, Told.apply)
    return lambda a: told(a)


def _tanh(a: Tensor) -> tuple[Tensor, Tensor]:
    value = torch.tanh(a)
    return value, 1 - value.square()


def _relu(a: Tensor) -> tuple[Tensor, Tensor]:
    return torch.relu(a), (a > 0).to(a.dtype)


def _leaky_relu(a: Tensor) -> tuple[Tensor, Tensor]:
    slope = torch.where(a > 0, torch.ones_like(a), LEAK)
    return a * slope, slope


def _silu(a: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(a)
    value = a * gate
    return value, gate + value * (1 - gate)


_BY_NAME: dict[str, Phi | None] = {
    "identity": None,
    "tanh": _tanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "silu": _silu,
}


@dataclass(frozen=True, slots=True)
class Layer:
    """``f(z) = pool(φ_out(A φ_in(z) + b))``: one of the two ``φ``, or neither.

    ``φ_in`` stands before ``A`` (the ``pre`` convention), ``φ_out`` after it (``post``).
    """

    affine: AffineMap
    before: Phi | None = None
    after: Phi | None = None
    pool: MaxPool | None = None

    def __call__(self, z: Float[Tensor, "*#R N d_in"]) -> Float[Tensor, "*#R N d_out"]:
        """Return ``f(z)``."""
        return self.at(z).value

    def with_directions(self) -> Layer:
        """Make room for an axis of directions behind that of replicas, if there is one."""
        return replace(self, affine=self.affine.with_directions())

    def at(self, z: Float[Tensor, "*#R N d_in"]) -> Linearisation:
        """Return value and derivatives at ``z``."""
        inner = outer = winners = None
        if self.before is not None:
            z, inner = self.before(z)
        value = self.affine(z)
        if self.after is not None:
            value, outer = self.after(value)
        if self.pool is not None:
            value, winners = self.pool(value)
        return Linearisation(self, z, value, inner, outer, winners)


@dataclass(frozen=True, slots=True)
class Linearisation:
    """A layer at a point: what its affine map sees, ``φ_in(z)``, and ``f(z)``.

    ``inner`` and ``outer`` are slopes of ``φ_in`` and ``φ_out``; the winners are positions that
    the pooling chose.
    """

    layer: Layer
    seen: Float[Tensor, "*#R N d_in"]
    value: Float[Tensor, "*#R N d_out"]
    inner: Tensor | None
    outer: Tensor | None
    winners: Tensor | None

    def pull(self, e: Float[Tensor, "*#R N *K d_out"]) -> Float[Tensor, "*#R N *K d_in"]:
        """``Jᵀ e``, with ``J = ∂f/∂z``; of one vector a sample, or of many."""
        back = self.layer.affine.pull(self._to_affine(e))
        return back if self.inner is None else back * _aligned(self.inner, back)

    def push(self, v: Float[Tensor, "*#R N d_in"]) -> Float[Tensor, "*#R N d_out"]:
        """``J v``."""
        if self.inner is not None:
            v = self.inner * v
        v = self.layer.affine.push(v)
        v, pool = v if self.outer is None else self.outer * v, self.layer.pool
        return v if pool is None or self.winners is None else pool.push(v, self.winners)

    def gradients(self, e: Float[Tensor, "*#R N d_out"]) -> tuple[Tensor, Tensor | None]:
        """``Σ_n (∂f/∂W)ᵀ e_n``, and the same for the bias, if there is one."""
        affine, reached = self.layer.affine, self._to_affine(e)
        weight = affine.weight_gradient(self.seen, reached)
        return weight, None if affine.bias is None else affine.bias_gradient(reached)

    def _to_affine(self, e: Tensor) -> Tensor:
        if self.layer.pool is not None and self.winners is not None:
            e = self.layer.pool.pull(e, self.winners)
        return e if self.outer is None else e * _aligned(self.outer, e)


def parameters_of(layers: Sequence[Layer]) -> list[Tensor]:
    """``W_1 … W_L``, then the biases of all layers, if they have them."""
    return in_order([(layer.affine.weight, layer.affine.bias) for layer in layers])


def along(layers: Sequence[Layer], parameters: Sequence[Tensor]) -> list[Layer]:
    """Return the layers with other parameters, which they share with the caller."""
    weights, biases = parameters[: len(layers)], parameters[len(layers) :]
    return [
        replace(layer, affine=layer.affine.along(weight, bias))
        for layer, weight, bias in zip_longest(layers, weights, biases)
    ]


def in_order(pairs: Sequence[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
    """Weights of all layers, then biases of all that have them."""
    return [weight for weight, _ in pairs] + [bias for _, bias in pairs if bias is not None]


def _aligned(slope: Tensor, e: Tensor) -> Tensor:
    """Make room in a slope for the axis of many vectors a sample."""
    return slope.unsqueeze(-2) if e.dim() > slope.dim() else slope


def make_layers(network: NetworkSpec, parameters: Sequence[Tensor]) -> list[Layer]:
    """Put ``φ`` where the network's convention has it."""
    phi, post = activation(network.activation), network.convention == "post"
    biases = parameters[network.n_layers :] if network.bias else [None] * network.n_layers
    layers = []
    for index, (shape, weight, bias) in enumerate(
        zip(network.layers, parameters[: network.n_layers], biases, strict=True)
    ):
        affine: AffineMap
        pool = None
        if isinstance(shape, Convolution):
            affine = ConvolutionMap(weight, bias, shape)
            pool = MaxPool(shape) if shape.pool > 1 else None
        else:
            affine = Matrix(weight, bias)
        before = None if post or index == 0 else phi
        after = phi if post and index < network.n_hidden else None
        layers.append(Layer(affine, before, after, pool))
    return layers


# Below this many floating-point operations a product is done sooner by one thread than by two:
# measured at 64 × d · d × d, where the two meet at d = 200 in either dtype. Convolutions and
# products of many replicas gain from a second thread no later.
WORTH_SHARING = 5e6


@contextmanager
def threads_that_pay(layers: Sequence[Layer], rows: int, device: torch.device) -> Iterator[None]:
    """Compute with one thread where the network's largest product is not worth sharing.

    ``rows`` is how many vectors go through a layer at once: samples, times directions. The choice
    depends on shapes alone, never on the clock: the number of threads decides in which order a
    product sums, and the same run must give the same bits.
    """
    largest = 2 * rows * max(layer.affine.multiplications for layer in layers)
    if device.type != "cpu" or largest >= WORTH_SHARING:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
