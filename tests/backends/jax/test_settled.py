"""Backends on JAX return what has been computed, not what has been begun."""

import numpy as np
import pytest

from pcbench.contract import Inference

jax = pytest.importorskip("jax")
backend = pytest.importorskip("pcbench.backends.jax").JaxBackend("cpu", "float32")


def begun(size=1500):
    """A product that JAX goes on with after it has returned."""
    square = jax.numpy.ones((size, size), np.float32)
    return square @ square @ square


@pytest.mark.parametrize(
    "wrap",
    [
        lambda array: array,
        lambda array: [array, array],
        lambda array: Inference([array], array, 0, array, converged=True),
    ],
    ids=["array", "list", "inference"],
)
def test_an_answer_is_there_when_the_call_returns(wrap):
    begun()  # compiled
    seen = []

    def ask():
        seen.append(begun())
        return wrap(seen[0])

    backend.run(ask)
    assert seen[0].is_ready()
