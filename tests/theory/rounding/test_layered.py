"""Bounds on the rounding of an evaluation hold for an honest one, and tell a slightly wrong one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings

from pcbench.contract import GradientInference
from pcbench.theory.nonlinear.layered import (
    Layered,
    activity_residuals,
    energy_gradients,
    layered_energies,
    layered_errors,
    pull_back,
    weigh,
)
from pcbench.theory.rounding.bounds import unit_roundoff
from pcbench.theory.rounding.layered import layered_rounding
from pcbench.theory.rounding.units import pull_rounding, unit_roundings
from tests.theory.float32_problems import (
    ACTIVATIONS,
    EQUAL,
    U,
    fitting,
    half_squares,
    norms,
    problems,
    stage,
)

# What is run, small and large. No potential of the rectifiers is near its kink.
REALISTIC = {
    "small tanh": {"activation": "tanh", "widths": (40, 20, 20, 20, 10), "samples": 16},
    "wide relu": {"activation": "relu", "widths": (40, *(100,) * 4, 10), "seed": 1},
    "deep tanh": {"activation": "tanh", "widths": (784, *(300,) * 10, 10), "samples": 64},
    "silu, pre": {
        "activation": "silu",
        "convention": "pre",
        "widths": (40, *(50,) * 4, 10),
        "samples": 64,
    },
    "convolved": {"activation": "tanh", "widths": "convolved", "bias": True, "samples": 8},
}


def bounds_of(staged, u=U):
    return layered_rounding(staged.judged, staged.activities, u, staged.precision)


def under_way(staged):
    """The same after some steps of inference towards a class: errors and forces as there are."""
    x, *_, y = staged.activities
    target = np.eye(y.shape[1])[np.random.default_rng(0).integers(0, y.shape[1], len(y))]
    reached = staged.model.infer(
        staged.backend.to_device(x),
        staged.backend.to_device(target),
        GradientInference(step=0.1, max_steps=5, residual=1e-300),
    )
    return replace(staged, activities=staged.host(reached.activities))


def used_up(staged):
    """How much of each bound the errors of torch in float32 use up."""
    judged, z, precision, bounds = (
        staged.judged,
        staged.activities,
        staged.precision,
        bounds_of(staged),
    )
    view = staged.view()
    errors = layered_errors(judged, z)
    seen = staged.host(view.errors)
    errors[-1], seen[-1] = (weigh(e, precision)[0] for e in (errors[-1], seen[-1]))
    used = {
        f"errors {l}": np.linalg.norm(a - b) / bound
        for l, (a, b, bound) in enumerate(zip(errors, seen, bounds.errors, strict=True), start=1)
    }
    energies = staged.host([view.energies(), view.sample_energies()])
    exact = layered_energies(judged, z, precision), half_squares(judged, z, precision)
    for name, a, b, bound in zip(
        ("energy", "energy of a sample"),
        energies,
        exact,
        (bounds.energies, bounds.sample_energies),
        strict=True,
    ):
        used[name] = np.max(np.abs(a - b) / bound)
    slopes = activity_residuals(judged, z, precision)
    apart = norms(slopes, staged.host(view.slopes()))
    used["residual"] = np.linalg.norm(apart) / bounds.residual
    used["residual of a sample"] = np.max(apart / bounds.sample_residuals)
    weights, biases = energy_gradients(judged, z, precision)
    gradients = staged.model.energy_gradients(staged.on_device, staged.weights_of_outputs)
    allowed = [*bounds.gradients, *(bounds.biases if biases else ())]
    for ours, theirs, bound in zip(
        staged.host(gradients), [*weights, *(biases or [])], allowed, strict=True
    ):
        key = f"gradient {ours.shape}"
        used[key] = max(used.get(key, 0), np.linalg.norm(ours - theirs) / bound)
    return used


@settings(max_examples=200, deadline=None)
@given(problems)
@example(EQUAL)
def test_float32_stays_inside(arguments):
    used = used_up(stage(*arguments))
    assert max(used.values()) <= 1, used


@pytest.mark.parametrize("name", REALISTIC)
def test_bounds_are_like_what_happens(name):
    """Norms within a factor of 200, of which the confidence takes 8 where few numbers are added."""
    used = used_up(stage(**REALISTIC[name]))
    of_norms = {key: value for key, value in used.items() if "energy" not in key}
    assert max(used.values()) <= 1, used
    assert min(of_norms.values()) > 1 / 200, used
    assert used["residual"] > 1 / 80, used


@pytest.mark.parametrize("name", REALISTIC)
def test_a_force_that_is_wrong_by_a_ten_thousandth_is_told(name):
    staged = under_way(stage(**REALISTIC[name]))
    judged, z, bounds = staged.judged, staged.activities, bounds_of(staged)
    errors = layered_errors(judged, z)
    wrong = [1e-4 * pull_back(judged, l + 1, z[l], errors[l]) for l in range(1, judged.depth)]
    by_sample = np.sqrt(sum(np.sum(w**2, axis=1) for w in wrong))
    assert np.linalg.norm(by_sample) > bounds.residual
    assert np.max(by_sample / bounds.sample_residuals) > 0.5
    weights, _ = energy_gradients(judged, z)
    assert 1e-4 * np.linalg.norm(weights[-1]) > bounds.gradients[-1]
    energies = layered_energies(judged, z)
    assert 2e-4 * energies[-1] > bounds.energies[-1]


@pytest.mark.parametrize("order", ["as it stands", "reversed", "shuffled", "every eighth"])
@pytest.mark.parametrize("kind", ["random", "smooth", "alternating", "positive"])
def test_sums_in_other_orders_stay_inside(order, kind):
    """One addition after another in float32, as no library does: the worst that is usual."""
    staged = stage("identity", widths=(300, 200), weights=kind, activities="random", samples=8)
    (weight,), (x, y) = staged.judged.weights, staged.activities
    n = x.shape[1]
    indices = {
        "as it stands": np.arange(n),
        "reversed": np.arange(n)[::-1],
        "shuffled": np.random.default_rng(1).permutation(n),
        "every eighth": np.arange(n).reshape(-1, 4).T.ravel(),
    }[order]
    potential = np.zeros((8, 200), np.float32)
    for i in indices:
        potential += np.float32(x[:, i : i + 1]) * np.float32(weight[:, i])
    error = np.float32(y) - potential
    exact = y - x @ weight.T
    bounds = bounds_of(staged)
    assert np.linalg.norm(error - exact) <= bounds.errors[0]
    energy = float(np.add.accumulate((error**2).ravel())[-1]) / 16  # naively, too
    assert abs(energy - np.sum(exact**2) / 16) <= bounds.energies[0]
    gradient = np.zeros((200, n), np.float32)
    for sample in range(8):
        gradient += np.outer(error[sample], np.float32(x[sample]))
    assert np.linalg.norm(gradient / 8 - exact.T @ x / 8) <= bounds.gradients[0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bounds_scale_with_the_dtype(activation):
    """But for the judge's own rounding, which counts beside that of float64: a root of 2."""
    staged = stage(activation)
    single, double = (bounds_of(staged, unit_roundoff(d)) for d in ("float32", "float64"))
    scale = 2**29 / np.sqrt(2)
    assert single.residual / double.residual == pytest.approx(scale, rel=1e-3)
    assert single.errors == pytest.approx([scale * error for error in double.errors], rel=1e-3)


def test_a_tolerance_is_a_function_of_the_problem_alone():
    assert bounds_of(stage("tanh")) == bounds_of(stage("tanh"))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("size", [1e100, 1e-100, 0.0])
def test_activities_beyond_all_measure_have_bounds(activation, size):
    """Energies of 1e200 are numbers still, of inference that diverged in float64."""
    staged = stage(activation, "pre", weighted=True)
    z = [size * z for z in staged.activities]
    bounds = layered_rounding(staged.judged, z, U, staged.precision)
    for bound in (bounds.energies, bounds.sample_energies, bounds.sample_residuals, bounds.errors):
        assert np.isfinite(bound).all()
        assert (np.array(bound) > 0).all()
    assert np.isfinite(bounds.residual)
    if size:
        whole = layered_energies(staged.judged, z, staged.precision)
        assert max(bounds.energies) < 1e-3 * max(whole) + 1e-30


def test_outputs_that_are_not_observed_leave_no_trace():
    staged = stage("tanh", weighted=True)
    unobserved = staged.precision == 0
    zeros, nothing = (
        layered_rounding(
            staged.judged,
            [*staged.activities[:-1], np.where(unobserved, target, staged.activities[-1])],
            U,
            staged.precision,
        )
        for target in (0.0, np.nan)
    )
    assert zeros == nothing


# Kinks and ties


def test_a_unit_at_its_kink_is_allowed_either_slope():
    weights = [np.array([[1.0, -1.0]]), np.array([[1.0]])]
    judged = Layered(weights, None, "relu", "post")
    near = [np.array([[1.0, 1.0]]), np.array([[-1.0]]), np.array([[0.5]])]
    far = [np.array([[1.0, 0.5]]), np.array([[-1.0]]), np.array([[0.5]])]
    # At the kink the first layer's gradient is 0 or e x, with an error of -1.
    assert layered_rounding(judged, near, U).gradients[0] >= np.sqrt(2)
    assert layered_rounding(judged, far, U).gradients[0] < 1e-4


def test_a_kink_is_near_by_the_rounding_of_its_own_unit_not_of_its_sample():
    """The second unit's potential is 1e-4: far for it, near by the rounding of the first one."""
    weights = [np.array([[1e3, 0.0], [0.0, 1.0]]), np.array([[1.0, 1.0]])]
    judged = Layered(weights, None, "relu", "post")
    z = [np.array([[1e3, 1e-4]]), np.array([[1e6, -1.0]]), np.array([[1e6]])]
    unit = unit_roundings(judged, z, U, None)[0]
    assert unit.flips[0, 1] == 0
    z[0][0, 1] = 1e-12
    assert unit_roundings(judged, z, U, None)[0].flips[0, 1] == 0  # exact: one term, relative error


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_either_slope_at_kinks_stays_inside(activation):
    """Shift potentials that are within rounding of 0 to its other side, and compare slopes."""
    rng = np.random.default_rng(0)
    weights = [fitting(rng.standard_normal(s) / 5) for s in ((20, 30), (20, 20), (3, 20))]
    judged = Layered(weights, None, activation, "post")
    z = [fitting(rng.standard_normal((16, d))) for d in (30, 20, 20, 3)]
    # Move one input of every sample so that one unit of it has a potential of nearly 0.
    units = rng.integers(0, 20, 16)
    potential = np.take_along_axis(z[0] @ weights[0].T, units[:, None], 1)[:, 0]
    z[0][:, 0] = fitting(z[0][:, 0] - potential / weights[0][units, 0])
    bounds = layered_rounding(judged, z, U)
    changed = []
    for sign in (1, -1):
        moved = [weights[0] + sign * 1e-6 * np.sign(weights[0]), *weights[1:]]
        other = Layered(moved, None, activation, "post")
        ours, theirs = (energy_gradients(network, z)[0] for network in (judged, other))
        changed.append(np.linalg.norm(ours[0] - theirs[0]))
    assert 1e-3 < max(changed) < bounds.gradients[0]


def tie(second):
    """One image of four pixels, one channel, pooled to one, whose largest two are 1 and another."""
    image = np.array([[1.0, second, 0.25, 0.5]])
    weights = [np.full((1, 1, 1, 1), 1 / 3), np.ones((1, 1))]
    judged = Layered(weights, None, "identity", "post", [(1, 2, 2)], [2])
    return judged, [fitting(image), np.array([[2.0]]), np.array([[1.0]])]


@pytest.mark.parametrize(("second", "doubtful"), [(1.0, 2), (1 - 2.0**-23, 2), (0.999, 0)])
def test_a_maximum_within_rounding_of_the_next_may_send_its_force_there(second, doubtful):
    judged, z = tie(second)
    unit = unit_roundings(judged, z, U, None)[0]
    assert np.count_nonzero(unit.flips) == doubtful
    if doubtful:
        np.testing.assert_allclose(unit.flips[unit.flips > 0], 2 - 1 / 3, rtol=1e-6)
        # Over a second convolution of the same kind, the pull goes to either pixel.
        pull = pull_rounding(judged, 1, z[0], unit)
        np.testing.assert_allclose(pull.flips[0, :2], (2 - 1 / 3) / 3, rtol=1e-6)
    gradient = layered_rounding(judged, z, U).gradients[0]
    assert (gradient > 1) == bool(doubtful)


def test_a_tie_of_entries_that_carry_no_rounding_is_the_first_ones():
    judged, z = tie(1.0)
    z[0][:] = 0
    assert not unit_roundings(judged, z, U, None)[0].flips.any()
