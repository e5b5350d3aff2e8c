"""Inference by the reference backend against dense systems, general minimisers, differences."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
from pydantic import TypeAdapter
from scipy.linalg import expm

from pcbench.backends.numpy.state import Clamped, full_curvature
from pcbench.contract import (
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    OdeInference,
)
from tests.backends.reference_problems import (
    BENT,
    DIFFERENCES,
    SMOOTH,
    STRAIGHT,
    batch,
    central,
    energy_at,
    flat,
    modelled,
    parametrised,
    posed,
    slopes_at,
    unflat,
)
from tests.helpers.closeness import DIFFERENT, SAME, apart


@parametrised(STRAIGHT)
def test_exact_inference_solves_the_whole_system(network):
    """Slopes are affine in the activities: those at 0 and at units are all of the system."""
    problem = posed(network)
    model, (x, y, precision) = modelled(problem), batch(problem)
    reached = model.infer(x, y, ExactInference(), precision)
    assert (reached.steps, reached.converged) == (0, True)
    assert reached.residual < 1e-12
    hidden = problem.activities[1:-1]
    if hidden:
        slopes, size = slopes_at(problem), flat(hidden).size
        at_zero = slopes(np.zeros(size))
        curvature = np.array([slopes(unit) for unit in np.eye(size)]) - at_zero
        expected = np.linalg.solve(curvature, -at_zero)
        assert apart(flat(reached.activities[1:-1]), expected) < SAME
    clamped = [*reached.activities[:-1], y]
    assert apart(reached.energies, model.energies(clamped, precision)) < SAME
    unseen = precision == 0
    last = model.layers[-1].at(reached.activities[-2]).value
    np.testing.assert_array_equal(reached.activities[-1][unseen], last[unseen])
    np.testing.assert_array_equal(reached.activities[-1][~unseen], y[~unseen])


@parametrised(SMOOTH)
def test_gauss_newton_ends_where_a_general_minimiser_does(network):
    problem = posed(network, gain=0.5)
    x, y, precision = batch(problem)
    settings = GaussNewtonInference(residual=1e-10, record=True)
    reached = modelled(problem).infer(x, y, settings, precision)
    assert reached.converged
    start = np.zeros(flat(problem.activities[1:-1]).size)
    found = scipy.optimize.minimize(
        energy_at(problem), start, jac=slopes_at(problem), method="BFGS", options={"gtol": 1e-9}
    )
    assert apart(len(x) * reached.energies.sum(), found.fun) < SAME
    assert apart(flat(reached.activities[1:-1]), found.x) < 1e-6
    path = reached.path.sum(axis=1)
    assert len(path) == reached.steps + 1
    assert np.diff(path).max() <= 1e-15 * path[0]


@parametrised(BENT)
def test_gauss_newton_never_raises_the_energy_of_a_sample(network):
    problem = posed(network, samples=4, gain=3.0)  # far from where a network is nearly linear
    x, y, precision = batch(problem)
    model = modelled(problem)
    for n in range(4):
        one = slice(n, n + 1)
        settings = GaussNewtonInference(residual=1e-12, max_steps=30, record=True)
        reached = model.infer(x[one], y[one], settings, precision[one])
        path = reached.path.sum(axis=1)
        assert np.diff(path).max(initial=0.0) <= 1e-13 * path[0]
        assert path[-1] < path[0] or not reached.steps


@parametrised(BENT)
def test_gradient_inference_follows_differences_of_the_energy(network):
    problem = posed(network)
    x, y, precision = batch(problem)
    steps, settings = 3, GradientInference(step=0.07, max_steps=3, residual=1e-15, record=True)
    reached = modelled(problem).infer(x, y, settings, precision)
    assert (reached.steps, reached.converged) == (steps, False)
    hidden = flat(Clamped.of(modelled(problem).layers, x, y, precision).feedforward().hidden)
    energy, start = energy_at(problem), None
    for step in range(steps + 1):
        slope = central(energy, hidden)
        start = np.linalg.norm(slope) if start is None else start
        assert apart(len(x) * reached.path[step].sum(), energy(hidden)) < DIFFERENCES
        if step < steps:
            hidden = hidden - 0.07 * slope
    assert apart(flat(reached.activities[1:-1]), hidden) < DIFFERENCES
    assert apart(reached.residual, np.linalg.norm(slope) / start) < 1e-6


def test_steps_are_halved_when_the_energy_rises_and_inference_ends_at_the_smallest():
    problem = posed(STRAIGHT["matrices"], gain=2.0)
    settings = GradientInference(
        step=1.0, halve=True, smallest_step=0.2, max_steps=50, residual=1e-12, record=True
    )
    reached = modelled(problem).infer(*batch(problem)[:2], settings, problem.precision)
    path, step, taken = reached.path.sum(axis=1), 1.0, 0
    for before, after in pairwise(path):
        taken += 1
        step = step / 2 if after > before else step
        if step <= 0.2:
            break
    assert step == 0.125  # it did come to that
    assert (reached.steps, reached.converged) == (taken, False)


@parametrised(BENT)
def test_error_inference_follows_differences_in_the_errors(network):
    problem = posed(network)
    x, y, precision = batch(problem)
    model, hidden = modelled(problem), problem.activities[1:-1]
    clamped = Clamped.of(model.layers, x, y, precision)

    def energy(errors):
        return len(x) * clamped.roll_out(unflat(errors, hidden)).energies().sum()

    settings = ErrorInference(step=0.07, max_steps=2, residual=1e-15)
    reached = model.infer(x, y, settings, precision)
    errors = np.zeros(flat(hidden).size)
    for _ in range(2):
        errors = errors - 0.07 * central(energy, errors)
    state = clamped.roll_out(unflat(errors, hidden))
    assert apart(reached.activities[1:-1], state.hidden) < DIFFERENCES


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_the_flow_of_a_linear_network_is_an_exponential(method):
    problem = posed(STRAIGHT["matrices"])
    x, y, precision = batch(problem)
    model, time = modelled(problem), 0.7
    settings = OdeInference(method=method, max_time=time, residual=1e-15, atol=1e-8)
    reached = model.infer(x, y, settings, precision)
    clamped = Clamped.of(model.layers, x, y, precision)
    start = np.concatenate(clamped.feedforward().hidden, axis=1)
    rest = np.concatenate(model.infer(x, y, ExactInference(), precision).activities[1:-1], axis=1)
    ended = np.concatenate(reached.activities[1:-1], axis=1)
    for n in range(len(x)):
        curvature = full_curvature(clamped.feedforward(), n).sparse().toarray()
        expected = rest[n] + expm(-time * curvature) @ (start[n] - rest[n])
        assert apart(ended[n], expected) < 1e-6
    assert apart(ended, start) > DIFFERENT
    assert not reached.converged
    assert reached.steps > 1


def test_a_flow_ends_at_its_residual_and_within_its_budget_of_steps():
    problem = posed(BENT["tanh-post"])
    reached = modelled(problem).infer(*batch(problem)[:2], OdeInference(), problem.precision)
    assert reached.converged
    assert reached.residual <= 1e-6
    few = OdeInference(max_steps=3)
    stopped = modelled(problem).infer(*batch(problem)[:2], few, problem.precision)
    assert (stopped.steps <= 3, stopped.converged) == (True, False)


@pytest.mark.parametrize(
    "settings",
    [
        GradientInference(step=50.0, max_steps=5000),
        ErrorInference(step=50.0, max_steps=5000),
        OdeInference(atol=1e300, max_time=1e9),
    ],
    ids=lambda settings: settings.engine,
)
def test_what_diverges_ends_without_a_warning_and_does_not_claim_to_have_arrived(settings):
    problem = posed(STRAIGHT["matrices"], gain=3.0)
    reached = modelled(problem).infer(*batch(problem)[:2], settings, problem.precision)
    assert not reached.converged
    assert reached.steps < 5000


@parametrised(BENT | STRAIGHT)
@pytest.mark.parametrize(
    "settings", [GaussNewtonInference(), GradientInference(), ErrorInference(), OdeInference()]
)
def test_numbers_that_are_no_numbers_come_out_as_such(network, settings):
    problem = posed(network)
    x = np.full_like(problem.x, np.nan)
    reached = modelled(problem).infer(x, problem.y, settings, problem.precision)
    assert not reached.converged
    assert np.isnan(reached.energies).any()


@parametrised(STRAIGHT)
@pytest.mark.parametrize("engine", ["exact", "gauss_newton", "gradient", "error", "ode"])
def test_of_no_samples_nothing_is_known(network, engine):
    problem = posed(network)
    nobody = [part[:0] for part in batch(problem)]
    recording = {} if engine == "exact" else {"record": True}
    settings = TypeAdapter(InferenceSettings).validate_python({"engine": engine, **recording})
    reached = modelled(problem).infer(*nobody[:2], settings, nobody[2])
    assert np.isnan(reached.energies).all()
    assert not reached.converged
    assert [z.shape for z in reached.activities] == [(0, d) for d in problem.network.widths]
    assert np.isnan(modelled(problem).loss(*nobody))
    assert np.isnan(flat(modelled(problem).loss_gradients(*nobody))).all()
    assert np.isnan(flat(modelled(problem).energy_gradients(reached.activities, nobody[2]))).all()
    if recording:
        assert reached.path.shape == (1, problem.network.n_layers)
