"""The first steps foretold: a backend's training is as foretold, and nothing else is."""

from itertools import pairwise

import numpy as np
import pytest

from pcbench.backends.torch import TorchBackend
from pcbench.contract import Sgd, TrainingSettings
from pcbench.networks import NetworkSpec
from pcbench.theory.dynamics.growth import first_steps
from pcbench.theory.rounding.bounds import unit_roundoff

STEPS = 6
POINTS = {
    "near the origin": ((5, 8, 8, 8, 3), 0.05, 0.1),
    "away from it": ((5, 8, 8, 3), None, 0.1),
    "a chain": ((1, 1, 1, 1), 0.05, 0.4),
    "steps lost in the last digit": ((5, 8, 8, 3), None, 1e-8),
}


def problem(widths, std, dtype):
    rng = np.random.default_rng(0)
    weights = [
        (std or inp**-0.5) * rng.standard_normal((out, inp)) for inp, out in pairwise(widths)
    ]
    x, y = rng.standard_normal((40, widths[0])), rng.standard_normal((40, widths[-1]))
    *weights, x, y = (np.asarray(a, dtype).astype(float) for a in (*weights, x, y))
    return weights, x, y, rng.integers(0, 40, (STEPS, 16))


def recorded(weights, x, y, rows, rate, objective, dtype):
    """Gradient norms of a run in PyTorch."""
    backend = TorchBackend(dtype=dtype)
    widths = (weights[0].shape[1], *map(len, weights))
    model = backend.build(NetworkSpec(widths), weights)
    settings = TrainingSettings(objective, Sgd(), rate)
    trainer = backend.trainer(model, backend.to_device(x), backend.to_device(y), settings)
    return trainer.run(len(rows), rows).gradient_norms


def foretold(weights, x, y, rows, rate, objective, dtype):
    batches = [(x[one], y[one]) for one in rows]
    return first_steps(weights, batches, rate, objective, unit_roundoff(dtype))


def outside(norms, expected, u):
    # The norm of a few dozen entries rounds by some units more.
    return np.abs(norms - expected[0]) > expected[1] + 64 * u * expected[0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("objective", ["loss", "energy"])
@pytest.mark.parametrize("point", POINTS)
def test_training_is_as_foretold(point, objective, dtype):
    widths, std, rate = POINTS[point]
    weights, x, y, rows = problem(widths, std, dtype)
    expected = foretold(weights, x, y, rows, rate, objective, dtype)
    norms = recorded(weights, x, y, rows, rate, objective, dtype)
    assert norms.shape == expected[0].shape
    assert not outside(norms, expected, unit_roundoff(dtype)).any()
    assert (expected[1] < (1e-3 if dtype == "float32" else 1e-11) * expected[0]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("objective", ["loss", "energy"])
def test_other_training_is_not(objective, dtype):
    widths, std, rate = POINTS["near the origin"]
    weights, x, y, rows = problem(widths, std, dtype)
    expected = foretold(weights, x, y, rows, rate, objective, dtype)
    u = unit_roundoff(dtype)
    other = "energy" if objective == "loss" else "loss"
    assert outside(recorded(weights, x, y, rows, rate, other, dtype), expected, u).any(axis=1).all()
    faster = outside(recorded(weights, x, y, rows, 1.1 * rate, objective, dtype), expected, u)
    assert not faster[0].any()
    assert faster[1:].any(axis=1).all()
    stale = recorded(weights, x, y, np.roll(rows, 1, axis=0), rate, objective, dtype)
    assert outside(stale, expected, u).any(axis=1).all()


def test_the_bound_grows_with_every_step():
    widths, _, rate = POINTS["near the origin"]
    weights, x, y, rows = problem(widths, 0.2, "float32")
    still = np.repeat(rows[:1], STEPS, axis=0)
    off = foretold(weights, x, y, still, rate, "energy", "float32")[1]
    assert (off[-1] > off[0]).all()


@pytest.mark.parametrize(
    ("depth", "width", "std", "rate", "objective", "bounded"),
    [
        (20, 50, 0.4, 1e-6, "energy", 0),  # S is lost in float64 from the start
        (10, 10, 0.5, 1e-2, "loss", 2),  # the second step leaves the landscape
        (10, 50, 0.5, 1e-6, "energy", 3),
    ],
)
def test_steps_have_a_bound_as_long_as_float64_can_tell(
    depth, width, std, rate, objective, bounded
):
    rng = np.random.default_rng(1)
    weights = [std * rng.standard_normal((width, width)) for _ in range(depth)]
    batches = [tuple(rng.standard_normal((2, 8, width))) for _ in range(3)]
    off = first_steps(weights, batches, rate, objective, unit_roundoff("float64"))[1]
    assert np.isfinite(off[:bounded]).all()
    assert np.isinf(off[bounded:]).all()  # once no numbers, which no check can judge by


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["loss", "energy"])
def test_training_at_the_papers_size_is_as_foretold(objective):
    widths = (784, 500, 500, 500, 500, 10)
    weights, x, y, rows = problem(widths, 0.005, "float32")
    expected = foretold(weights, x, y, rows[:3], 1e-3, objective, "float32")
    norms = recorded(weights, x, y, rows[:3], 1e-3, objective, "float32")
    assert not outside(norms, expected, unit_roundoff("float32")).any()
