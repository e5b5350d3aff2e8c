"""A dataset, a case kind and a backend of one's own: each one class, and all that it takes.

A package of yours names such classes in its ``pyproject.toml``::

    [project.entry-points."pcbench.datasets"]
    ramp = "example_plugins:Ramp"

    [project.entry-points."pcbench.cases"]
    loss_at_origin = "example_plugins:LossAtOrigin"

    [project.entry-points."pcbench.backends"]
    plain_numpy = "example_plugins:PlainNumpy"

In a notebook, ``pcbench.registry.DATASETS.add("ramp", Ramp)`` does for as long as it is open.
"""

from itertools import pairwise
from typing import Literal

import numpy as np

from pcbench import Backend, Case, Dataset
from pcbench.case import CaseParameters
from pcbench.checks import Tolerance, approx
from pcbench.contract import Capability, Inference, Model
from pcbench.data import DataField, DatasetParameters, Samples
from pcbench.networks import NetworkParameters


class RampParameters(DatasetParameters):
    name: Literal["ramp"]
    slope: float = 1.0


class Ramp(Dataset[RampParameters]):
    """Inputs on a line, and targets on another."""

    name = "ramp"
    description = "x and y = slope · x, one number each"
    Parameters = RampParameters

    def load(self, rng):
        x = rng.uniform(-1, 1, size=(self.parameters.samples, 1))
        return Samples(x, self.parameters.slope * x)


class LossAtOriginParameters(CaseParameters):
    data: DataField
    network: NetworkParameters


class LossAtOrigin(Case[LossAtOriginParameters]):
    """A network without weights predicts nothing, so its loss is half the targets' mean square."""

    kind = "loss_at_origin"
    description = "the loss where all weights are zero, against half the targets' mean square"
    Parameters = LossAtOriginParameters

    def run(self, context):
        samples = context.load(self.parameters.data)
        network = self.parameters.network.specification(samples.x.shape[1:], samples.y.shape[1])
        backend = context.backend
        model = backend.build(network, [np.zeros(shape) for shape in network.shapes])
        x, y = backend.to_device(samples.x), backend.to_device(samples.y)
        expected = float(np.square(samples.y).sum() / (2 * len(samples.y)))
        rounding = float(np.finfo(backend.dtype).eps) * samples.y.size * (expected + 1)
        yield approx(
            "loss at the origin",
            float(backend.to_host(model.loss(x, y))),
            expected,
            Tolerance(rounding, "eps times the number of squares that are summed"),
            source="definition of the loss",
        )
        yield context.measure("loss", lambda: model.loss(x, y))


class PlainNumpy(Backend[np.ndarray]):
    """Linear networks in NumPy."""

    name = "plain_numpy"
    capabilities = frozenset({Capability.EXACT_INFERENCE})

    def build(self, network, weights):
        return LinearNetwork([self.to_device(weight) for weight in weights])

    def to_device(self, array):
        return np.array(array, self.dtype)

    def to_host(self, array):
        return np.asarray(array, np.float64)

    def describe(self):
        return {"numpy": np.__version__}


class LinearNetwork(Model[np.ndarray]):
    def __init__(self, weights):
        self.weights = weights

    def predict(self, x):
        return self._forward(x)[-1]

    def loss(self, x, y):
        return _half_mean_square(y - self.predict(x))

    def loss_gradients(self, x, y):
        activities = self._forward(x)
        backward, gradients = (activities[-1] - y) / len(x), []
        for weight, below in zip(self.weights[::-1], activities[-2::-1], strict=True):
            gradients.append(backward.T @ below)
            backward = backward @ weight
        return gradients[::-1]

    def infer(self, x, y, settings):
        """Solve ``S e_L = y - ŷ``; the errors below follow, and the activities from them."""
        products = [np.eye(y.shape[1], dtype=y.dtype)]  # W_L ... W_{l+1} for l = L ... 1
        for weight in self.weights[:0:-1]:
            products.append(products[-1] @ weight)
        s = sum(product @ product.T for product in products)
        output = np.linalg.solve(s, (y - self.predict(x)).T).T
        activities = [x]
        for weight, product in zip(self.weights, products[::-1], strict=True):
            activities.append(activities[-1] @ weight.T + output @ product)
        residual = self._slope(activities) / (self._slope([*self._forward(x)[:-1], y]) or 1)
        return Inference(activities, self.energies(activities), 0, residual, converged=True)

    def energies(self, activities):
        return np.array([_half_mean_square(error) for error in self._errors(activities)])

    def energy_gradients(self, activities):
        return [
            -error.T @ below / len(below)
            for error, below in zip(self._errors(activities), activities[:-1], strict=True)
        ]

    def _forward(self, x):
        activities = [x]
        for weight in self.weights:
            activities.append(activities[-1] @ weight.T)
        return activities

    def _errors(self, activities):
        return [
            above - below @ weight.T
            for weight, (below, above) in zip(self.weights, pairwise(activities), strict=True)
        ]

    def _slope(self, activities):
        """Return the norm of the energy's gradient in the hidden activities."""
        slopes = [
            error - above @ weight
            for weight, (error, above) in zip(
                self.weights[1:], pairwise(self._errors(activities)), strict=True
            )
        ]
        return np.sqrt(sum(np.square(slope).sum() for slope in slopes))


def _half_mean_square(errors):
    return np.square(errors).sum() / (2 * len(errors))
