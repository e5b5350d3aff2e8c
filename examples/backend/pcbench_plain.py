"""A backend for pcbench: predictive coding by gradient steps, in plain NumPy.

It has everything that the contract requires; `pcbench.contract.backend` says what each method must
return. The optional parts that it offers are listed in `capabilities`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from pcbench.contract import (
    Backend,
    BackendUnavailableError,
    Capability,
    GradientInference,
    Inference,
    Model,
)

Function = Callable[[np.ndarray], np.ndarray]
FUNCTIONS: dict[str, tuple[Function, Function]] = {  # with their derivatives
    "identity": (lambda a: a, np.ones_like),
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0).astype(a.dtype)),
}


class PlainBackend(Backend[np.ndarray]):
    """NumPy on the CPU."""

    name = "plain"
    capabilities = frozenset({Capability.GRADIENT_INFERENCE, Capability.NONLINEAR})

    def build(self, network, parameters):
        if network.activation not in FUNCTIONS:
            raise BackendUnavailableError(
                f"the plain backend has no {network.activation}; use {', '.join(FUNCTIONS)}"
            )
        staged = [self.to_device(parameter) for parameter in parameters]
        weights, biases = staged[: network.n_layers], staged[network.n_layers :]
        phi, one = FUNCTIONS[network.activation], FUNCTIONS["identity"]
        layers = []
        for l, weight in enumerate(weights):
            post, last = network.convention == "post", l == network.n_layers - 1
            before = one if post or l == 0 else phi
            after = phi if post and not last else one
            layers.append(Layer(weight, biases[l] if biases else None, before, after))
        return PlainModel(layers)

    def to_device(self, array):
        return np.array(array, self.dtype)  # a copy, always

    def to_host(self, array):
        return np.array(array, np.float64)

    def describe(self):
        return {"numpy": np.__version__, "device": "cpu"}


@dataclass
class Layer:
    """``f(z) = after(W before(z) + b)``."""

    weight: np.ndarray
    bias: np.ndarray | None
    before: tuple[Function, Function]
    after: tuple[Function, Function]

    def __call__(self, z):
        return self.after[0](self._potential(z))

    def back(self, z, v):
        """``vᵀ ∂f`` by ``z``, by the weights and by the biases; rows are samples."""
        v = v * self.after[1](self._potential(z))
        return (v @ self.weight) * self.before[1](z), v.T @ self.before[0](z), v.sum(axis=0)

    def _potential(self, z):
        a = self.before[0](z) @ self.weight.T
        return a if self.bias is None else a + self.bias


class PlainModel(Model[np.ndarray]):
    """A network of such layers."""

    def __init__(self, layers):
        self.layers = layers

    def predict(self, x):
        return self._forward(x)[-1]

    def loss(self, x, y):
        return half_mean_square(y - self.predict(x))

    def loss_gradients(self, x, y):
        *below, output = self._forward(x)
        v, gradients = output - y, []
        for layer, z in zip(self.layers[::-1], below[::-1], strict=True):
            v, weight, bias = layer.back(z, v)
            gradients.insert(0, (weight, bias))
        return self._means(gradients, len(x))

    def infer(self, x, y, settings):
        if not isinstance(settings, GradientInference) or settings.halve or settings.record:
            raise BackendUnavailableError(
                "the plain backend infers by gradient steps of one size, and records no path"
            )
        z = [*self._forward(x)[:-1], y]
        forces = self._forces(z)
        start, steps = norm(forces) or 1.0, 0
        while norm(forces) > settings.residual * start and steps < settings.max_steps:
            z[1:-1] = [a - settings.step * f for a, f in zip(z[1:-1], forces, strict=True)]
            forces, steps = self._forces(z), steps + 1
        energies, residual = self.energies(z), norm(forces) / start
        converged = bool(residual <= settings.residual and np.isfinite(energies).all())
        return Inference(z, energies, steps, residual, converged)

    def energies(self, activities):
        return np.array([half_mean_square(e) for e in self._errors(activities)])

    def energy_gradients(self, activities):
        errors = self._errors(activities)
        found = [f.back(z, -e)[1:] for f, z, e in zip(self.layers, activities, errors)]
        return self._means(found, len(activities[0]))

    def _forward(self, x):
        return list(accumulate(self.layers, lambda z, layer: layer(z), initial=x))

    def _errors(self, z):
        return [above - f(below) for f, (below, above) in zip(self.layers, pairwise(z))]

    def _forces(self, z):
        """``∂(N𝓕)/∂z_l = e_l - (∂f_{l+1}/∂z_l)ᵀ e_{l+1}``, for every hidden layer."""
        errors = self._errors(z)
        above = zip(self.layers[1:], z[1:-1], errors[1:], strict=True)
        return [e - f.back(a, v)[0] for e, (f, a, v) in zip(errors, above)]

    def _means(self, sums, n):
        biases = [bias for _, bias in sums] if self.layers[0].bias is not None else []
        return [array / n for array in [weight for weight, _ in sums] + biases]


def half_mean_square(errors):
    return np.square(errors).sum() / (2 * len(errors))


def norm(arrays):
    return np.sqrt(sum(np.square(array).sum() for array in arrays))
