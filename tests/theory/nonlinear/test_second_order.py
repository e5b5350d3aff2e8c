"""Hessian products of the theory (3.1) against differences of its own gradients."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pcbench.theory.linear.equilibrium import equilibrated_energy_gradient, equilibrium_activities
from pcbench.theory.nonlinear import second_order
from pcbench.theory.nonlinear.curvature import least_curvatures, slopes_moved
from pcbench.theory.nonlinear.layered import (
    CONVENTIONS,
    Layered,
    activity_residuals,
    energy_gradients,
    feedforward,
    layered_loss_gradients,
)
from pcbench.theory.nonlinear.second_order import energy_hessian_product, loss_hessian_product
from pcbench.theory.rounding.bounds import inner_system
from pcbench.theory.rounding.stochastic import with_rounding
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import problems, samples, seeds, widths

quick = settings(max_examples=20, deadline=None)
# What central differences of a step of 1e-5 leave.
DIFFERENCES = 1e-6
SMOOTH = ("identity", "tanh", "silu")


def networks(min_layers=1):
    """Arguments of ``draw``."""
    return st.tuples(
        st.sampled_from(SMOOTH),
        st.sampled_from(CONVENTIONS),
        st.booleans(),
        widths(min_layers=min_layers, max_layers=4, max_width=4),
        samples,
        seeds,
    )


def draw(activation, convention, bias, widths, samples, seed):
    """Draw a network that bends little, a batch, and a direction of its parameters."""
    rng = np.random.default_rng(seed)
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    parts = [0.7 * rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes]
    if bias:
        parts += [0.3 * rng.standard_normal(out) for out, _ in shapes]
    # Targets near what such a network predicts leave one minimum, and Newton's method finds it.
    x, y = (0.5 * rng.standard_normal((samples, width)) for width in (widths[0], widths[-1]))
    return parts, (activation, convention), x, y, [rng.standard_normal(p.shape) for p in parts]


def network_of(parts, how, depth):
    return Layered(parts[:depth], parts[depth:] or None, *how)


def equilibrium(network, x, y, precision=None):
    """Find where all forces vanish, by Newton's method: draws are such that it converges."""
    activities = [*feedforward(network, x)[:-1], y]
    hidden = activities[1:-1]
    if not hidden:
        return activities
    cuts = np.cumsum([z.size for z in hidden])[:-1]

    def split(flat):
        pairs = zip(np.split(flat, cuts), hidden, strict=True)
        return [part.reshape(z.shape) for part, z in pairs]

    unit = np.eye(sum(z.size for z in hidden))
    for _ in range(12):
        rows = [slopes_moved(network, activities, split(row), precision)[0] for row in unit]
        forces = activity_residuals(network, activities, precision)
        step = np.linalg.solve(np.stack([joined(row) for row in rows]), joined(forces))
        moved = [z - s for z, s in zip(activities[1:-1], split(step), strict=True)]
        activities = [x, *moved, y]
        if np.linalg.norm(step) < 1e-13:
            break
    return activities


def joined(parts):
    return np.concatenate([part.ravel() for part in parts])


def gradients(found):
    weights, biases = found
    return [*weights, *(biases or [])]


def difference(gradient, parts, direction, step=1e-5):
    there, back = (
        gradient([p + sign * step * d for p, d in zip(parts, direction, strict=True)])
        for sign in (1, -1)
    )
    return [(a - b) / (2 * step) for a, b in zip(there, back, strict=True)]


@quick
@given(case=networks())
def test_the_loss(case):
    parts, how, x, y, direction = draw(*case)
    depth = len(case[3]) - 1

    def gradient(moved):
        return gradients(layered_loss_gradients(network_of(moved, how, depth), x, y))

    ours = loss_hessian_product(network_of(parts, how, depth), x, y, direction)
    assert ours.residual == 0
    assert apart(ours.product, difference(gradient, parts, direction)) < DIFFERENCES


@quick
@given(case=networks(), masked=st.booleans())
def test_the_equilibrated_energy(case, masked):
    parts, how, x, y, direction = draw(*case)
    depth = len(case[3]) - 1
    precision = np.where(np.arange(y.size).reshape(y.shape) % 3 == 0, 0.0, 1.5) if masked else None

    def gradient(moved):
        network = network_of(moved, how, depth)
        activities = equilibrium(network, x, y, precision)
        return gradients(energy_gradients(network, activities, precision))

    network = network_of(parts, how, depth)
    activities = equilibrium(network, x, y, precision)
    # Where the energy hardly curves, a small step leads to another equilibrium.
    assume(least_curvatures(network, activities, precision).min() > 0.1)
    ours = energy_hessian_product(network, activities, direction, precision)
    assert ours.residual < 1e-11
    assert apart(ours.product, difference(gradient, parts, direction)) < 10 * DIFFERENCES


@quick
@given(problem=problems(max_layers=4, max_width=4), seed=seeds)
def test_a_linear_network_has_the_hessian_of_theorem_1(problem, seed):
    direction = [np.random.default_rng(seed).standard_normal(w.shape) for w in problem.weights]
    activities = equilibrium_activities(*problem.parts)
    network = Layered(problem.weights, None, "identity", "post")
    ours = energy_hessian_product(network, [*activities[:-1], problem.y], direction)
    size = float(np.sqrt(sum(np.sum(d**2) for d in direction)))
    step = 1e-5 / max(size, 1.0)

    def gradient(moved):
        return equilibrated_energy_gradient(moved, problem.x, problem.y)

    assert apart(ours.product, difference(gradient, problem.weights, direction, step)) < 1e-4


@quick
@given(case=networks(min_layers=2))
def test_leaving_the_movement_of_the_equilibrium_out_gives_another_matrix(case):
    parts, how, x, y, direction = draw(*case)
    network = network_of(parts, how, len(case[3]) - 1)
    activities = equilibrium(network, x, y)
    ours = energy_hessian_product(network, activities, direction).product
    still = [np.zeros_like(z) for z in activities[1:-1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second_order, "_solve", lambda *_: (still, 0.0))
        without = energy_hessian_product(network, activities, direction).product
    assert apart(ours, without) > SAME


def test_where_the_energy_curves_downwards_there_is_no_hessian():
    network = Layered([np.eye(1)] * 3, None, "tanh", "post")

    def at(*units):
        return [np.full((1, 1), unit) for unit in units]

    assert inner_system(network, at(1.0, 0.5, 0.4, 1.0), 1e-16).rounding > 0
    bent = at(1.0, 0.5, -9.0, 1.0)
    assert least_curvatures(network, bent)[0] < 0
    with pytest.raises(ValueError, match="no minimum"):
        inner_system(network, bent, 1e-16)


@pytest.mark.parametrize("u", [2**-24, 2**-53])
def test_what_is_allowed_grows_with_the_roundoff(u):
    case = ("tanh", "pre", True, (3, 4, 4, 2), 5, 0)
    parts, how, x, y, direction = draw(*case)
    network = network_of(parts, how, 3)
    activities = equilibrium(network, x, y)
    moved, z, d = with_rounding(network, activities, direction, u, np.random.default_rng(0))
    assert 0 < apart(list(moved.weights), list(network.weights)) < 100 * u
    assert 0 < apart(z, activities) < 100 * u
    assert 0 < apart(d, direction) < 100 * u
