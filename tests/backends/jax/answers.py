"""What the JAX backend answers about a problem, brought to the host.

XLA takes a good part of a second to compile a function for a shape. So these tests ask few shapes
many questions, where those of other backends ask many shapes.
"""

import os

import numpy as np
import pytest

# What is run once is not worth optimising. Read when JAX first computes.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

pytest.importorskip("jax", reason="JAX is not installed; pip install 'pcbench[jax]'")

from pcbench.backends.jax import JaxBackend
from pcbench.theory.nonlinear import layered

DENSE, IMAGES = (None, ()), ((2, 4, 4), ((3, 3, 2),))
WIDTHS = (4, 5, 3, 2)
# Every activation, both conventions, with biases and without, dense and convolved with pooling.
ARCHITECTURES = {
    "tanh-post": ("tanh", "post", True, DENSE, WIDTHS),
    "silu-pre": ("silu", "pre", True, DENSE, WIDTHS),
    "relu-post": ("relu", "post", False, DENSE, WIDTHS),
    "leaky-pre-pooled": ("leaky_relu", "pre", True, IMAGES, WIDTHS[1:]),
}
DTYPES = ("float32", "float64")
# Twelve bits: small networks lose few, wrong formulas all, a constant of the wrong dtype half.
CLOSE = {dtype: 2**12 * float(np.finfo(dtype).eps) for dtype in DTYPES}


class Staged:
    """A problem on the device, and a door for what comes back.

    Parameters
    ----------
    problem
        With ``network``, ``parameters`` and ``activities``, of ``torch_layered``.
    """

    def __init__(self, problem, dtype="float64", parameters=None):
        self.problem, self.backend = problem, JaxBackend("cpu", dtype)
        own = problem.parameters if parameters is None else parameters
        self.model = self.backend.build(problem.network, own)
        self.z = [self.stage(z) for z in problem.activities]
        self.x, self.y = self.z[0], self.z[-1]
        self.precision = None if problem.precision is None else self.stage(problem.precision)

    def stage(self, array):
        return self.backend.to_device(array)

    def host(self, answer):
        if isinstance(answer, list | tuple):
            return [self.backend.to_host(part) for part in answer]
        return self.backend.to_host(answer)

    def infer(self, settings):
        return self.model.infer(self.x, self.y, settings, self.precision)

    def equilibrium(self, reached):
        """The activities reached, the last the target."""
        return [*reached.activities[:-1], self.y]


def flat(gradients):
    """What the judge returns, in the order of the parameters."""
    weights, biases = gradients
    return [*weights, *(biases or [])]


def true_residual(problem, activities):
    """The judge's residual of every sample, relative to where inference began.

    Absolute where nothing pulled there, as where no output of a sample is observed.
    """

    def norms(z):
        slopes = layered.activity_residuals(problem.judge, z, problem.precision)
        return np.sqrt(sum((slope**2).sum(-1) for slope in slopes))

    forward = layered.feedforward(problem.judge, problem.x)
    start = norms([*forward[:-1], problem.y])
    return norms([*activities[:-1], problem.y]) / np.where(start > 0, start, 1)
