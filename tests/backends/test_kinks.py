"""Derivatives exactly at a kink: every backend takes the one that the contract names."""

from importlib.util import find_spec

import numpy as np
import pytest

from pcbench.contract import GradientInference
from pcbench.registry import BACKENDS
from pcbench.theory.nonlinear import layered
from tests.backends.torch.layered import DENSE, draw
from tests.helpers.closeness import SAME, apart

# What the libraries, and JAX of their age, are warned of when they are compiled or imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")

STEP = 0.1
LIBRARIES = {"numpy": "numpy", "torch": "torch", "jax": "jax", "jpc": "jpc", "pcx": "pcx"}


def backends(*names):
    return pytest.mark.parametrize(
        "name",
        [
            pytest.param(
                name,
                marks=pytest.mark.skipif(
                    find_spec(LIBRARIES[name]) is None, reason=f"{name} is not installed"
                ),
            )
            for name in names
        ],
    )


def built(name, problem):
    backend = BACKENDS.load(name)("cpu", "float64")
    return backend, backend.build(problem.network, problem.parameters)


@backends(*LIBRARIES)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("convention", ["post", "pre"])
def test_a_rectifier_has_the_slope_of_its_left_side_at_zero(name, activation, convention):
    problem = draw(activation, convention, False, DENSE, (4, 5, 3, 2), 4, 0).unmasked()
    problem.x[:] = 0  # without biases every potential is then exactly 0
    for z in problem.activities[1:-1]:
        z[:] = 0
    slopes = layered.activity_residuals(problem.judge, problem.activities)
    backend, model = built(name, problem)
    batch = backend.to_device(problem.x), backend.to_device(problem.y)
    reached = model.infer(*batch, GradientInference(step=STEP, max_steps=1))
    moved = [backend.to_host(z) for z in reached.activities[1:-1]]
    assert apart(moved, [-STEP * slope for slope in slopes]) < SAME
    # A leak of 0.01 lets a hundredth through; a slope of 1 would let all of it.
    assert bool(np.any(moved[-1])) == (activation == "leaky_relu" or convention == "post")


@backends("numpy", "torch", "jax")
def test_of_equal_maxima_the_first_takes_the_gradient(name):
    images = ((1, 4, 4), ((2, 3, 2),))
    problem = draw("leaky_relu", "pre", True, images, (5, 3, 2), 3, 0).unmasked()
    problem.judge.weights[0][:] = 0  # every window is a tie
    backend, model = built(name, problem)
    batch = backend.to_device(problem.x), backend.to_device(problem.y)
    found = [backend.to_host(gradient) for gradient in model.loss_gradients(*batch)]
    weights, biases = layered.layered_loss_gradients(problem.judge, problem.x, problem.y)
    assert apart(found, [*weights, *biases]) < SAME
    assert np.any(weights[0])
