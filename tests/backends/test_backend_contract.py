"""The contract itself: what a backend that offers the least still does."""

import numpy as np
import pytest

from pcbench.contract import Backend, BackendUnavailableError, ExactInference, Inference, Model
from pcbench.errors import UsageError
from pcbench.networks import NetworkSpec


class LeastModel(Model):
    """The required part, for a network without hidden layers."""

    def __init__(self, weight):
        self.weight = weight

    def predict(self, x):
        return x @ self.weight.T

    def loss(self, x, y):
        return np.sum((y - self.predict(x)) ** 2) / (2 * len(x))

    def loss_gradients(self, x, y):
        return self.energy_gradients([x, y])

    def infer(self, x, y, settings):
        return Inference([x, y], self.energies([x, y]), 0, np.zeros(()), converged=True)

    def energies(self, activities):
        return self.loss(*activities)[None]

    def energy_gradients(self, activities):
        x, y = activities
        return [-(y - self.predict(x)).T @ x / len(x)]


class LeastBackend(Backend):
    name = "least"

    def build(self, network, weights):
        return LeastModel(*weights)

    def to_device(self, array):
        return array

    def to_host(self, array):
        return array

    def describe(self):
        return {}


def test_a_backend_needs_no_more_than_the_required_methods():
    backend = LeastBackend()
    assert (backend.device, backend.dtype) == ("cpu", "float64")
    assert backend.capabilities == frozenset()
    assert backend.peak_memory() is None
    assert backend.synchronize() is None
    x = np.ones((2, 3))
    model = backend.build(NetworkSpec((3, 2)), [np.ones((2, 3))])
    assert model.infer(x, np.zeros((2, 2)), ExactInference()).converged


X, Y = np.ones((2, 3)), np.ones((2, 2))
NOT_OFFERED = {
    "no Hessians": lambda model: model.loss_hessian(X, Y),
    "no Hessians ": lambda model: model.energy_hessian([X, Y]),
    "no unrolled Hessians": lambda model: model.unrolled_hessian(X, Y, 1, 0.1),
}


@pytest.mark.parametrize("refusal", NOT_OFFERED)
def test_hessians_that_are_not_offered_are_refused_by_the_models_name(refusal):
    model = LeastBackend().build(NetworkSpec((3, 2)), [np.ones((2, 3))])
    with pytest.raises(BackendUnavailableError, match=f"LeastModel offers {refusal.strip()}"):
        NOT_OFFERED[refusal](model)


@pytest.mark.parametrize("method", ["build", "to_device", "to_host", "describe"])
def test_a_backend_that_lacks_a_required_method_cannot_be_made(method):
    without = type("Without", (LeastBackend,), {method: getattr(Backend, method)})
    with pytest.raises(TypeError, match=method):
        without()


def test_a_backend_that_cannot_be_had_is_a_matter_for_the_user():
    assert issubclass(BackendUnavailableError, UsageError)
