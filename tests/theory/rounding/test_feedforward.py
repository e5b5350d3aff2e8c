"""Bounds on the rounding of a forward pass hold for an honest one, and are not vacuous."""

import numpy as np
import pytest
from hypothesis import example, given, settings

from pcbench.theory.nonlinear import layered
from pcbench.theory.nonlinear.layered import Layered, activity_residuals, feedforward, layered_loss
from pcbench.theory.rounding import units
from pcbench.theory.rounding.bounds import CONFIDENCE
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.passes import feedforward_rounding
from tests.theory.float32_problems import EQUAL, U, half_squares, norms, problems, stage


def bounds_of(staged, u=U):
    x, *_, y = staged.activities
    return feedforward_rounding(staged.judged, x, y, u, staged.precision)


def used_up(staged):
    """How much of each bound the errors of torch in float32 use up."""
    judged, precision, bounds = staged.judged, staged.precision, bounds_of(staged)
    x, *_, y = staged.activities
    forward = feedforward(judged, x)
    start = [*forward[:-1], y]
    view = staged.view(forward=True)
    loss = layered_loss(judged, x, y, precision)
    samples = np.abs(
        half_squares(judged, start, precision) - staged.backend.to_host(view.sample_energies())
    )
    slopes = activity_residuals(judged, start, precision)
    apart = norms(slopes, staged.host(view.slopes()))
    away = norms(forward[1:-1], staged.host(view.activities[1:]))
    [predicted] = staged.host([staged.model.predict(staged.on_device[0])])
    return {
        "loss": abs(float(view.energies().sum()) - loss) / bounds.loss,
        "loss of a sample": np.max(samples / bounds.sample_losses),
        "residual": np.linalg.norm(apart) / bounds.residual,
        "residual of a sample": np.max(apart / bounds.sample_residuals),
        "prediction": np.linalg.norm(forward[-1] - predicted) / (bounds.prediction or 1e-40),
        "activities": np.linalg.norm(away) / (bounds.activities or 1e-40),
    }


@settings(max_examples=150, deadline=None)
@given(problems)
@example(EQUAL)
def test_float32_stays_inside(arguments):
    used = used_up(stage(*arguments))
    assert max(used.values()) <= 1, used


@pytest.mark.parametrize("depth", [2, 10, 30])
def test_errors_of_all_layers_count(depth):
    """The deeper, the more of them; and what the last layer alone may err is not enough."""
    staged = stage("tanh", widths=(40, *(50,) * depth, 10), samples=64, gain=1.5)
    used = used_up(staged)
    assert max(used.values()) <= 1, used
    x, *_, y = staged.activities
    there = layered_rounding(staged.judged, [*feedforward(staged.judged, x)[:-1], y], U)
    bounds = bounds_of(staged)
    assert bounds.loss > sum(there.energies)
    assert bounds.residual > there.residual
    assert bounds.prediction < 1e-3 * np.linalg.norm(y)
    assert bounds.loss < 1e-4 * layered_loss(staged.judged, x, y)


def test_the_rounding_of_the_loss_is_that_of_its_gradient():
    """A perturbation of a hidden activity moves the loss as the variance says, to first order."""
    staged = stage("tanh", widths=(30, 20, 20, 3), samples=1)
    x, *_, y = staged.activities
    rng, moved = np.random.default_rng(0), []
    errors = units.unit_roundings(staged.judged, [*feedforward(staged.judged, x)[:-1], y], U, None)
    for _ in range(2000):
        z = x
        for l in range(1, 3):
            z = layered.layer(staged.judged, l, z)
            z = z + 1e-6 * errors[l - 1].value_std * rng.standard_normal(z.shape)
        off = y - layered.layer(staged.judged, 3, z)
        moved.append(float(np.sum(off**2)) / 2)
    there = layered_rounding(staged.judged, [*feedforward(staged.judged, x)[:-1], y], 1e-6)
    carried = feedforward_rounding(staged.judged, x, y, 1e-6).loss - sum(there.energies)
    assert carried == pytest.approx(CONFIDENCE * np.std(moved), rel=0.1)


def test_a_kink_that_the_last_hidden_activity_may_cross_counts():
    """Its slope is the last one's own, in the pre convention."""
    weights = [np.array([[1.0, -1.0]]), np.array([[2.0]])]
    judged = Layered(weights, None, "relu", "pre")
    y = np.array([[1.0]])
    near = feedforward_rounding(judged, np.array([[1.0, 1 - 2.0**-24]]), y, U)
    far = feedforward_rounding(judged, np.array([[1.0, 0.5]]), y, U)
    assert near.residual > 1.9  # the force that comes or does not
    assert far.residual < 1e-4


def test_a_tolerance_is_a_function_of_the_problem_alone():
    assert bounds_of(stage("silu")) == bounds_of(stage("silu"))


def test_without_hidden_layers_nothing_is_carried():
    staged = stage("tanh", widths=(7, 3))
    bounds = bounds_of(staged)
    assert 0 < bounds.prediction < 1e-5
    assert bounds.activities < 1e-30  # what a platform may flush to zero, and nothing else
    there = layered_rounding(staged.judged, staged.activities, U)
    assert bounds.loss == pytest.approx(sum(there.energies))
