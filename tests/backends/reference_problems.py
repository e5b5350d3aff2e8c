"""Small networks for the reference backend, and differences of what it computes."""

import numpy as np
import pytest

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.numpy.state import Clamped
from tests.backends.torch.layered import CONVOLVED, DENSE, draw

BACKEND = NumpyBackend()
# What central differences of step 1e-5 leave: a rounding of 1e-16 over the step.
DIFFERENCES = 1e-7

# Every convention and activation, biases, convolutions with and without pooling.
BENT = {
    "tanh-post": ("tanh", "post", True, DENSE),
    "tanh-pre": ("tanh", "pre", False, DENSE),
    "silu-post": ("silu", "post", False, DENSE),
    "silu-pre": ("silu", "pre", True, DENSE),
    "leaky-relu-post": ("leaky_relu", "post", True, DENSE),
    "relu-pre": ("relu", "pre", False, DENSE),
    "pooled-tanh": ("tanh", "post", True, CONVOLVED[0]),
    "pooled-silu-pre": ("silu", "pre", True, CONVOLVED[1]),
    "convolved": ("tanh", "post", True, ((1, 2, 3), ((2, 3, 1), (1, 3, 1)))),
}
STRAIGHT = {
    "matrices": ("identity", "post", False, DENSE),
    "biases": ("identity", "pre", True, DENSE),
    "convolutions": ("identity", "post", True, ((1, 2, 3), ((2, 3, 1), (1, 3, 1)))),
    "no-hidden": ("identity", "post", True, DENSE, (4, 3)),
}
SMOOTH = {name: net for name, net in BENT.items() if "relu" not in name and "pool" not in name}
ALL = BENT | STRAIGHT


def parametrised(networks):
    return pytest.mark.parametrize("network", networks.values(), ids=networks)


def posed(architecture, samples=3, seed=0, gain=0.7):
    """Return a problem with precisions of which a third are 0, and targets there not numbers."""
    activation, convention, bias, body, *dense = architecture
    widths = dense[0] if dense else (4, 5, 3, 2)
    return draw(activation, convention, bias, body, widths, samples, seed, gain).masked()


def modelled(problem, parameters=None):
    given = problem.parameters if parameters is None else parameters
    return BACKEND.build(problem.network, given)


def batch(problem):
    return problem.x, problem.y, problem.precision


def flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


def unflat(vector, like):
    ends = np.cumsum([array.size for array in like])[:-1]
    parts = np.split(np.asarray(vector), ends)
    return [part.reshape(array.shape) for part, array in zip(parts, like, strict=True)]


def moved(problem, vector):
    """Return the model with parameters moved along a flat vector."""
    changed = flat(problem.parameters) + vector
    return modelled(problem, unflat(changed, problem.parameters))


def central(function, at, step=1e-5):
    """Differentiate a function of a flat vector: a row for every entry of the vector."""
    units = step * np.eye(len(at))
    rows = [(np.asarray(function(at + unit)) - function(at - unit)) / (2 * step) for unit in units]
    return np.array(rows)


def energy_at(problem):
    """``N𝓕`` as a function of all hidden activities, in one flat vector."""
    model = modelled(problem)
    x, y, precision = batch(problem)
    like = problem.activities[1:-1]

    def energy(hidden):
        return len(x) * model.energies([x, *unflat(hidden, like), y], precision).sum()

    return energy


def slopes_at(problem):
    """``∂(N𝓕)/∂z`` likewise."""
    clamped = Clamped.of(modelled(problem).layers, *batch(problem))
    like = problem.activities[1:-1]
    return lambda hidden: flat(clamped.at(unflat(hidden, like)).slopes())
