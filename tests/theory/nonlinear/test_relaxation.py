"""The judge's own equilibrium: that it is one, and the closed form's where there is one."""

from itertools import pairwise

import numpy as np
import pytest

from pcbench.theory.linear.equilibrium import equilibrium_activities
from pcbench.theory.nonlinear.curvature import least_curvatures
from pcbench.theory.nonlinear.layered import (
    Layered,
    activity_residuals,
    layered_energies,
    layered_loss,
)
from pcbench.theory.nonlinear.second_order import NoEquilibriumError, relaxed_activities


def network(activation, convention="post", widths=(4, 6, 5, 3), gain=1.2, seed=0):
    rng = np.random.default_rng(seed)
    weights = [
        gain * rng.standard_normal((out, inp)) / np.sqrt(inp) for inp, out in pairwise(widths)
    ]
    biases = [0.3 * rng.standard_normal(out) for out in widths[1:]]
    x, y = (rng.standard_normal((5, width)) for width in (widths[0], widths[-1]))
    return Layered(weights, biases, activation, convention), x, y


@pytest.mark.parametrize("convention", ["post", "pre"])
@pytest.mark.parametrize("activation", ["identity", "tanh", "silu"])
@pytest.mark.parametrize("masked", [False, True])
def test_forces_vanish_at_a_minimum(activation, convention, masked):
    judged, x, y = network(activation, convention)
    precision = None
    if masked:
        precision = np.where(np.arange(15).reshape(5, 3) % 2, 0.7, 0.0)
        y = np.where(precision > 0, y, np.nan)
    z = relaxed_activities(judged, x, y, precision)
    forces = activity_residuals(judged, z, precision)
    assert max(np.max(np.abs(force)) for force in forces) < 1e-9
    assert least_curvatures(judged, z, precision).min() > 0
    assert np.array_equal(z[0], x)
    assert np.array_equal(z[-1], y, equal_nan=True)
    loss = layered_loss(judged, x, y, precision)
    assert layered_energies(judged, z, precision).sum() < loss


def test_a_linear_network_has_the_equilibrium_of_the_closed_form():
    judged, x, y = network("identity")
    linear = Layered(judged.weights, None, "identity", "post")
    found = relaxed_activities(linear, x, y)
    for ours, closed in zip(found, equilibrium_activities(judged.weights, x, y), strict=True):
        np.testing.assert_allclose(ours, closed, atol=1e-10)


def test_from_a_neighbouring_equilibrium_it_is_the_one_that_moved():
    judged, x, y = network("tanh")
    begun = relaxed_activities(judged, x, y)
    again = relaxed_activities(judged, x, y + 1e-6, start=begun)
    assert max(np.max(np.abs(a - b)) for a, b in zip(begun, again, strict=True)) < 1e-5


def test_without_hidden_layers_nothing_relaxes():
    judged, x, y = network("tanh", widths=(4, 3))
    assert [z is end for z, end in zip(relaxed_activities(judged, x, y), (x, y), strict=True)]


def test_what_does_not_arrive_says_so():
    judged, x, y = network("tanh")
    with pytest.raises(NoEquilibriumError):
        relaxed_activities(judged, x, y, residual=1e-30)
