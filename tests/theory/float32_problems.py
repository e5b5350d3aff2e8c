"""Layers with activities in numbers that fit float32, and what float32 makes of them.

Data have structure: rounding that looks random where all is random must be bounded where sums run
far off before they return, where samples or units repeat, where terms alternate or are all alike.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from pcbench.backends.torch import TorchBackend
from pcbench.backends.torch.relaxation import Relaxation
from pcbench.networks import Convolution, NetworkSpec
from pcbench.theory.nonlinear.layered import (
    Layered,
    feedforward,
    layered_errors,
    weigh,
    weighted_errors,
)
from pcbench.theory.rounding.bounds import unit_roundoff

U = unit_roundoff("float32")
SHAPES = ["random", "positive", "smooth", "repeated", "sparse", "alternating", "heavy", "coarse"]
ACTIVATIONS = ["identity", "tanh", "relu", "leaky_relu", "silu"]
CONVOLVED = (Convolution((2, 8, 8), 3, 3, 2),)
WIDTHS = [(40, 20, 20, 10), (30, 1, 3), (1, 60, 60, 1), (3, 5, 5, 5, 5, 3), (100, 120, 4), (7, 3)]


def fitting(array):
    """Round to float32."""
    return np.asarray(array, np.float32).astype(np.float64)


def shaped(shape, kind, rng):
    """Numbers of size 1 with one structure or another along the last axes."""
    rows, n = shape[0], int(np.prod(shape[1:]))
    drawn = rng.standard_normal((rows, n))
    match kind:
        case "positive":
            drawn = np.abs(drawn)
        case "smooth":
            phases = rng.uniform(0, 6, (rows, 1))
            drawn = np.sin(np.linspace(0, rng.uniform(1, 6), n) + phases)
        case "repeated":
            drawn = np.broadcast_to(drawn[:1], drawn.shape)
        case "sparse":
            drawn = drawn * (rng.random(drawn.shape) < 0.2)
        case "alternating":
            drawn = (-1.0) ** np.arange(n) * rng.uniform(0.9, 1.1, drawn.shape)
        case "heavy":
            drawn = drawn**3
        case "coarse":  # equal patches, ties, potentials of zero
            drawn = np.round(2 * drawn) / 2
    return drawn.reshape(shape)


@dataclass
class Staged:
    """A network with activities, as the judge and as the backend in float32 know it."""

    judged: Layered
    activities: list
    precision: np.ndarray | None
    model: object
    backend: TorchBackend

    @property
    def on_device(self):
        return [self.backend.to_device(z) for z in self.activities]

    @property
    def weights_of_outputs(self):
        return None if self.precision is None else self.backend.to_device(self.precision)

    def view(self, *, forward=False):
        """The backend's own look at the activities, or at those of its forward pass."""
        x, *hidden, y = self.on_device
        relaxation = Relaxation(self.model.layers, x, y, self.weights_of_outputs)
        return relaxation.feedforward() if forward else relaxation.at(hidden)

    def host(self, tensors):
        return [self.backend.to_host(tensor) for tensor in tensors]


EQUAL = ("identity", "post", False, (1, 60, 60, 1), *2 * ["repeated"], 64, 1.0, False, True, 0)
"""Equal units see equal samples: all of them err the same way."""

problems = st.tuples(
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(["post", "pre"]),
    st.booleans(),
    st.sampled_from([*WIDTHS, "convolved"]),
    st.sampled_from(SHAPES),
    st.sampled_from(SHAPES),
    st.sampled_from([1, 2, 17, 64]),
    st.sampled_from([0.1, 1.0, 3.0]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)


def stage(
    activation,
    convention="post",
    bias=False,
    widths=(40, 20, 20, 10),
    weights="random",
    activities="random",
    samples=16,
    gain=1.0,
    weighted=False,
    near=False,
    seed=0,
):
    """Draw a network with activities: anywhere, or near where errors vanish."""
    rng, convolutions = np.random.default_rng(seed), ()
    if widths == "convolved":
        widths, convolutions = (128, 48, 10, 4), CONVOLVED
    network = NetworkSpec(widths, activation, convention, bias, convolutions)
    parameters = [
        fitting(gain * shaped(shape, weights, rng) / np.sqrt(np.prod(shape[1:])))
        for shape in network.shapes
    ]
    biases = [fitting(rng.standard_normal(shape)) for shape in network.bias_shapes]
    judged = Layered(
        parameters,
        biases or None,
        activation,
        convention,
        [c.image for c in convolutions],
        [c.pool for c in convolutions],
    )
    z = [fitting(shaped((samples, width), activities, rng)) for width in widths]
    if near:
        forward = feedforward(judged, z[0])
        z[1:] = [fitting(f + 0.01 * e) for f, e in zip(forward[1:], z[1:], strict=True)]
    precision = None
    if weighted:
        precision = rng.uniform(0.2, 3, z[-1].shape) * (rng.random(z[-1].shape) < 0.7)
        precision = fitting(precision)
    backend = TorchBackend("cpu", "float32")
    model = backend.build(network, [*parameters, *biases])
    return Staged(judged, z, precision, model, backend)


def norms(ours, theirs):
    """Norm of the difference of two lists of activities, one a sample."""
    squares = [np.sum((a - b) ** 2, axis=1) for a, b in zip(ours, theirs, strict=True)]
    return np.sqrt(sum(squares, np.zeros(1)))


def half_squares(judged, activities, precision):
    """``½ Σ_l e_lᵀ π e_l``, one a sample."""
    errors = layered_errors(judged, activities)
    errors[-1] = weigh(errors[-1], precision)[0]
    forces = weighted_errors(judged, activities, precision)
    return sum(np.sum(e * f, axis=1) for e, f in zip(errors, forces, strict=True)) / 2
