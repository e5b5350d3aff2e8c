"""Every inference engine on small networks: what it reports, where it goes, when it stops."""

import math
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.linalg import expm

from pcbench.backends.torch.gauss_newton import LinearisedNetwork
from pcbench.backends.torch.relaxation import Relaxation
from pcbench.contract import (
    BackendUnavailableError,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    OdeInference,
)
from pcbench.theory.linear.equilibrium import (
    activity_hessian,
    equilibrated_energy,
    equilibrium_activities,
    equilibrium_errors,
)
from pcbench.theory.nonlinear import curvature, layered
from tests.backends.torch import answers
from tests.backends.torch.layered import (
    ARCHITECTURES,
    CONVOLVED,
    DENSE,
    draw,
    networks,
    replicated,
    staged,
)
from tests.helpers.closeness import SAME, apart

quick = settings(max_examples=4, deadline=None)
slower = settings(max_examples=3, deadline=None)
# Stopped long before they arrive: what they report there is not small by itself.
STOPPED = {
    "gradient": GradientInference(step=0.05, max_steps=4, residual=1e-15),
    "paper": GradientInference(preset="paper", max_steps=5, residual=1e-15),
    "error": ErrorInference(step=0.05, max_steps=4, residual=1e-15),
    "gauss_newton": GaussNewtonInference(max_steps=1, residual=1e-15),
    "ode": OdeInference(max_time=0.3, residual=1e-15, rtol=1e-3, atol=1e-5),
}
# Each of its own kind, on the way to any residual; for networks of gain 0.5.
ARRIVING = {
    "gradient": {"kind": GradientInference, "step": 0.2, "max_steps": 20_000},
    "error": {"kind": ErrorInference, "step": 0.2, "max_steps": 20_000},
    "gauss_newton": {"kind": GaussNewtonInference, "max_steps": 1000},
    "ode": {"kind": OdeInference},
}
# With the budgets that they have by default.
PLAIN = {
    "gradient": GradientInference(),
    "paper": GradientInference(preset="paper"),
    "error": ErrorInference(),
    "gauss_newton": GaussNewtonInference(),
    "ode": OdeInference(),
}
MASKABLE = ("gradient", "error", "gauss_newton")
every_engine = pytest.mark.parametrize("engine", STOPPED)


def arriving(engine, **more):
    written = {**ARRIVING[engine], **more}
    return written.pop("kind")(**written)


class Outcome:
    """What inference returned, on the host, and what the judge says of the same activities."""

    def __init__(self, problem, inference, dtype="float64"):
        backend, model, (x, *_, y), precision = staged(problem, dtype)
        reached = self.raw = model.infer(x, y, inference, precision)
        host = backend.to_host
        self.problem = problem
        self.activities = [host(z) for z in reached.activities]
        self.energies, self.residual = host(reached.energies), float(host(reached.residual))
        self.sample_residuals = host(reached.sample_residuals)
        self.path = None if reached.path is None else host(reached.path)
        self.steps, self.converged, self.passes = reached.steps, reached.converged, reached.passes

    @property
    def clamped(self):
        return [*self.activities[:-1], self.problem.y]

    @property
    def hidden(self):
        """The hidden activities, side by side."""
        return np.concatenate([self.problem.x[:, :0], *self.activities[1:-1]], axis=1)

    def slopes(self):
        """``‖∂(N𝓕)/∂z‖`` of each sample."""
        return slopes_at(self.problem, self.clamped)

    def sample_energies(self):
        return energies_by_sample(self.problem, self.clamped)


def at_feedforward(problem):
    return [*layered.feedforward(problem.judge, problem.x)[:-1], problem.y]


def slopes_at(problem, activities):
    parts = layered.activity_residuals(problem.judge, activities, problem.precision)
    return np.linalg.norm(np.concatenate([problem.x[:, :0], *parts], axis=1), axis=1)


def energies_by_sample(problem, activities):
    *hidden, output = layered.layered_errors(problem.judge, activities)
    output, weighed = layered.weigh(output, problem.precision)
    return (sum((e**2).sum(1) for e in hidden) + (output * weighed).sum(1)) / 2


def relative(now, start):
    return np.where(start > 0, now / np.where(start > 0, start, 1), now)


# --- What is reported


@every_engine
@pytest.mark.parametrize("dtype", answers.DTYPES)
@quick
@given(arguments=networks())
def test_reports_are_what_the_judge_finds_at_the_activities_returned(engine, dtype, arguments):
    drawn = draw(*arguments, dtype=dtype)
    for problem in (drawn.unmasked(), drawn.masked()):
        found = Outcome(problem, STOPPED[engine], dtype)
        judged, begun = found.slopes(), slopes_at(problem, at_feedforward(problem))
        np.testing.assert_array_equal(found.activities[0], problem.x)
        scale = sum(np.linalg.norm(z) for z in found.activities)
        rounding = 2**8 * np.finfo(dtype).eps * scale  # of any slope, before it is divided
        whole, start = np.linalg.norm(judged), np.linalg.norm(begun)
        assert abs(found.residual - relative(whole, start)) <= rounding / (start or 1)
        for ours, now, before in zip(found.sample_residuals, judged, begun, strict=True):
            assert abs(ours - relative(now, before)) <= rounding / (before or 1)
        energies = layered.layered_energies(problem.judge, found.clamped, problem.precision)
        # A square moves by twice its root times what the root moves by.
        allowed = rounding * (2 * np.sqrt(energies) + rounding)
        assert np.all(np.abs(found.energies - energies) <= allowed)
        # Gauss-Newton goes on until every sample has arrived by itself.
        by_sample = engine == "gauss_newton"
        largest = found.sample_residuals.max() if by_sample else found.residual
        assert found.converged == (largest <= STOPPED[engine].residual)


@every_engine
@quick
@given(arguments=networks())
def test_the_output_returned_is_the_target_and_where_there_is_none_the_prediction(
    engine, arguments
):
    problem = draw(*arguments).masked()
    found = Outcome(problem, STOPPED[engine])
    last = layered.layer(problem.judge, problem.judge.depth, found.activities[-2])
    expected = np.where(problem.precision > 0, problem.y, last)
    assert apart(found.activities[-1], expected) < SAME


@every_engine
@slower
@given(arguments=networks())
def test_the_path_leads_from_the_loss_to_the_energies_returned(engine, arguments):
    problem = draw(*arguments).masked()
    recording = STOPPED[engine].model_copy(update={"record": True})
    found, silent = Outcome(problem, recording), Outcome(problem, STOPPED[engine])
    batch = problem.judge, problem.x, problem.y, problem.precision
    assert not found.path[0, :-1].any()
    assert apart(found.path[0, -1], layered.layered_loss(*batch)) < SAME
    np.testing.assert_array_equal(found.path[-1], found.energies)
    assert silent.path is None
    for ours, theirs in zip(found.activities, silent.activities, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found.path.shape == (found.steps + 1, problem.judge.depth)


@every_engine
@pytest.mark.parametrize("dtype", answers.DTYPES)
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_shapes_and_dtypes_are_those_of_the_contract(engine, dtype, architecture):
    problem = draw(*architecture, 3, 0, dtype=dtype)
    raw = Outcome(problem, STOPPED[engine].model_copy(update={"record": True}), dtype).raw
    found = [*raw.activities, raw.energies, raw.residual, raw.sample_residuals, raw.path]
    assert {tensor.dtype for tensor in found} == {getattr(torch, dtype)}
    assert [z.shape[-1] for z in raw.activities] == list(problem.network.widths)
    assert (raw.residual.shape, raw.sample_residuals.shape) == ((), (3,))
    assert raw.path.shape[1:] == raw.energies.shape == (problem.network.n_layers,)
    assert raw.passes > raw.steps > 0


@every_engine
def test_nothing_that_is_given_is_changed(engine):
    problem = draw(*ARCHITECTURES[1], 3, 0).masked()
    _, model, (x, *_, y), precision = staged(problem)
    model.infer(x, y, STOPPED[engine], precision)
    for now, then in zip((x, y, precision), (problem.x, problem.y, problem.precision), strict=True):
        np.testing.assert_array_equal(now, then)
    now = [getattr(layer.affine, part) for part in ("weight", "bias") for layer in model.layers]
    for tensor, array in zip(now, problem.parameters, strict=True):
        np.testing.assert_array_equal(tensor, array)


# --- Where they go


def still(network_activations, **more):
    """Networks whose energy is all but convex: for engines that are to meet."""
    return networks(network_activations, (DENSE,), min_layers=2, max_layers=3, gain=0.5, **more)


@slower
@given(arguments=still(("tanh", "silu")))
def test_engines_agree_as_far_as_curvature_lets_their_residuals_mislead(arguments):
    """``‖δz‖ ≤ (ρ + ρ')/λ_min``, with half of ``λ_min`` for how it varies in between."""
    problem = draw(*arguments).masked()
    found = {engine: Outcome(problem, arriving(engine, residual=1e-5)) for engine in ARRIVING}
    assert all(outcome.converged for outcome in found.values())
    first = found["gauss_newton"]
    least = curvature.least_curvatures(problem.judge, first.clamped, problem.precision)
    assume(least.min() > 0.05)
    for outcome in found.values():
        apart_by = np.linalg.norm(outcome.hidden - first.hidden, axis=1)
        allowed = (outcome.slopes() + first.slopes()) / (least / 2)
        assert np.all(apart_by <= allowed + 1e-13)
        # Stationary there: what is missed of the energy is of second order.
        missed = np.abs(outcome.sample_energies() - first.sample_energies())
        assert np.all(missed <= allowed**2 * least + 1e-13)


# Only the clamped input is pooled: where activities are, minima may lie on a kink.
@pytest.mark.parametrize("body", [CONVOLVED[0], CONVOLVED[2]], ids=str)
@pytest.mark.parametrize("convention", layered.CONVENTIONS)
def test_engines_agree_on_convolutions(body, convention):
    problem = draw("tanh", convention, True, body, (0, 4, 3), 4, 0, 0.5).masked()
    found = [Outcome(problem, arriving(engine, residual=1e-4)) for engine in ARRIVING]
    assert all(outcome.converged for outcome in found)
    for outcome in found:
        assert apart(outcome.activities, found[0].activities) < 1e-3
        assert outcome.energies.sum() < layered.layered_loss(
            problem.judge, problem.x, problem.y, problem.precision
        )


@pytest.mark.parametrize("engine", ARRIVING)
@pytest.mark.parametrize("architecture", [ARCHITECTURES[0], ARCHITECTURES[5]], ids=str)
def test_float32_arrives_where_float64_does(engine, architecture):
    problem = draw("tanh", *architecture[1:], 4, 0, 0.5, dtype="float32").masked()
    settings = arriving(engine, residual=1e-3)
    short, long = (Outcome(problem, settings, dtype) for dtype in answers.DTYPES)
    assert short.converged
    assert apart(short.activities, long.activities) < 1e-2
    assert apart(short.energies.sum(), long.energies.sum()) < 1e-4


@quick
@given(arguments=networks(("identity",), (DENSE,), min_layers=2))
def test_one_iteration_of_gauss_newton_solves_a_linear_network(arguments):
    """With biases too, where there is no exact engine to ask."""
    drawn = draw(*arguments)
    for problem in (drawn.unmasked(), drawn.masked()):
        found = Outcome(problem, GaussNewtonInference(residual=1e-10))
        assert found.converged
        assert found.steps == int(np.any(slopes_at(problem, at_feedforward(problem)) > 0))
        if not problem.network.bias:
            exact = Outcome(problem, ExactInference())
            assert apart(found.activities, exact.activities) < SAME
            assert apart(found.energies, exact.energies) < SAME


@quick
@given(arguments=networks(min_layers=2), damping=st.floats(0, 10), masked=st.booleans())
def test_a_correction_where_nothing_has_moved_is_the_minimum_of_the_linearised_network(
    arguments, damping, masked
):
    """The second way to the same numbers, by the gradient; errors there are random."""
    drawn = draw(*arguments)
    problem = drawn.masked() if masked else drawn.unmasked()
    _, network, (x, *hidden, y), precision = staged(problem)
    view = Relaxation(network.layers, x, y, precision).at(hidden)
    linearised, damping = LinearisedNetwork.at(view), torch.full((len(x),), damping).double()
    energy = view.sample_energies()
    for ours, theirs in zip(
        linearised.correction(view, energy, damping), linearised.minimum(damping), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@slower
@given(arguments=networks(("tanh", "silu"), (DENSE,), min_layers=2, gain=0.5))
def test_a_linearisation_that_is_reused_leads_to_the_same_place(arguments):
    problem = draw(*arguments)
    often, seldom = (
        Outcome(problem, arriving("gauss_newton", residual=1e-9, reuse=reuse)) for reuse in (1, 3)
    )
    assert often.converged
    assert seldom.converged
    assert apart(seldom.activities, often.activities) < SAME


def test_gauss_newton_goes_on_where_rounding_hides_what_a_step_brings():
    """In float32 energies cannot tell residuals of 1e-4 and 1e-6: their squares are too small."""
    problem = draw("tanh", "post", True, DENSE, (20, 30, 30, 30, 10), 16, 0, 1, "float32")
    found = Outcome(problem.unmasked(), GaussNewtonInference(residual=1e-6), "float32")
    assert found.converged
    assert (
        found.slopes().max() < 1e-5 * slopes_at(problem.unmasked(), at_feedforward(problem)).max()
    )


def test_reusing_a_linearisation_pays_where_there_are_many_outputs():
    problem = draw("tanh", "post", False, DENSE, (6, 12, 12, 12, 10), 3, 0, 1)
    often, seldom = (
        Outcome(problem, arriving("gauss_newton", residual=1e-9, reuse=reuse)) for reuse in (1, 3)
    )
    assert seldom.converged
    assert seldom.passes < often.passes


@slower
@given(arguments=networks(min_layers=2, gain=3))
@pytest.mark.parametrize("reuse", [1, 3])
def test_gauss_newton_raises_the_energy_of_no_sample(reuse, arguments):
    problem = draw(*arguments).masked()
    energies = energies_by_sample(problem, at_feedforward(problem))
    for steps in range(1, 9):
        asked = GaussNewtonInference(residual=1e-12, max_steps=steps, reuse=reuse)
        found = Outcome(problem, asked)
        after = found.sample_energies()
        assert np.all(after <= energies * (1 + 1e-12) + 1e-25)
        energies = after


def test_gauss_newton_refuses_steps_sample_by_sample_and_goes_on():
    problem = draw("tanh", "post", True, DENSE, (4, 8, 8, 8, 3), 12, 1, 4)
    outcomes = [
        Outcome(problem, GaussNewtonInference(residual=1e-6, max_steps=steps))
        for steps in (*range(1, 20), 1000)
    ]
    stayed = np.array(
        [
            np.all(now.hidden == before.hidden, axis=1) & (before.sample_residuals > 1e-6)
            for before, now in pairwise(outcomes)
        ]
    )
    assert stayed.any()
    assert not stayed.all(axis=1).all()
    assert outcomes[-1].converged
    assert outcomes[-1].sample_residuals.max() <= 1e-6
    # A sample that has arrived is left alone, to the last bit.
    for before, now in pairwise(outcomes):
        arrived = before.sample_residuals <= 1e-6
        np.testing.assert_array_equal(now.hidden[arrived], before.hidden[arrived])


# One step size serves the whole batch in the others.
@pytest.mark.parametrize("engine", [name for name in STOPPED if name not in ("paper", "ode")])
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_samples_do_not_mix(engine, architecture):
    problem = draw(*architecture, 5, 0)
    together = Outcome(problem, STOPPED[engine])
    for n in range(5):
        own = replace(
            problem,
            activities=[z[[n]] for z in problem.activities],
            precision=problem.precision[[n]],
        )
        alone = Outcome(own, STOPPED[engine])
        for ours, theirs in zip(together.activities, alone.activities, strict=True):
            assert apart(ours[[n]], theirs) < SAME
        assert apart(together.sample_residuals[n], alone.residual) < SAME


# --- Each on its own way, step by step


def by_activities(problem, step, z):
    slopes = layered.activity_residuals(problem.judge, z, problem.precision)
    hidden = [a - step * slope for a, slope in zip(z[1:-1], slopes, strict=True)]
    return [z[0], *hidden, z[-1]]


def by_errors(problem, step, z):
    errors = layered.weighted_errors(problem.judge, z, problem.precision)
    force, moved = errors[-1], []
    for l in range(problem.judge.depth - 1, 0, -1):
        force = layered.pull_back(problem.judge, l + 1, z[l], force)
        moved.insert(0, errors[l - 1] - step * (errors[l - 1] - force))
    after = [z[0]]
    for l, error in enumerate(moved, start=1):
        after.append(layered.layer(problem.judge, l, after[-1]) + error)
    return [*after, z[-1]]


@pytest.mark.parametrize(
    ("kind", "definition"), [(GradientInference, by_activities), (ErrorInference, by_errors)]
)
@slower
@given(arguments=networks(min_layers=2))
def test_every_step_is_that_of_the_definition(kind, definition, arguments):
    problem = draw(*arguments).masked()
    z = at_feedforward(problem)
    for _ in range(3):
        z = definition(problem, 0.05, z)
    found = Outcome(problem, kind(step=0.05, max_steps=3, residual=1e-300))
    assume(found.steps == 3)
    assert apart(found.activities[:-1], z[:-1]) < SAME


@pytest.mark.parametrize("max_time", [0.7, 2.5])
def test_the_flow_follows_the_closed_form_of_a_linear_network(max_time):
    problem = draw("identity", "post", False, DENSE, (3, 4, 4, 2), 5, 0).unmasked()
    weights = problem.judge.weights
    goal = np.concatenate(equilibrium_activities(weights, problem.x, problem.y)[1:-1], axis=1)
    begun = np.concatenate(at_feedforward(problem)[1:-1], axis=1)
    expected = goal + (begun - goal) @ expm(-max_time * activity_hessian(weights))
    for method in ("dopri5", "bosh3"):
        inference = OdeInference(
            method=method, rtol=1e-9, atol=1e-11, max_time=max_time, residual=1e-15
        )
        found = Outcome(problem, inference)
        assert apart(found.hidden, expected) < 1e-6
        assert not found.converged


def scheduled(problem, step, max_steps, smallest):
    """The paper's schedule, by the judge: activities, energies on the way, and steps halved."""
    z = at_feedforward(problem)
    path = [layered.layered_energies(problem.judge, z, problem.precision).sum()]
    halvings = 0
    while len(path) <= max_steps:
        z = by_activities(problem, step, z)
        path.append(layered.layered_energies(problem.judge, z, problem.precision).sum())
        if path[-1] > path[-2]:
            step, halvings = step / 2, halvings + 1
            if step <= smallest:
                break
    return z, path, halvings


# How steep a network is decides how often the step is too long.
@pytest.mark.parametrize(
    ("gain", "halvings", "steps"), [(0.5, 0, 50), (2.3, 1, 50), (5.0, 2, None)]
)
@pytest.mark.parametrize("activation", ["identity", "leaky_relu"])
def test_the_papers_schedule_halves_where_the_energy_rises_and_ends_at_its_smallest_step(
    gain, halvings, steps, activation
):
    problem = draw(activation, "post", True, DENSE, (5, 6, 6, 4), 6, 0, gain).masked()
    z, path, halved = scheduled(problem, 0.1, 50, 0.025)
    assert halved == halvings
    inference = GradientInference(preset="paper", residual=1e-9, record=True)
    found = Outcome(problem, inference)
    assert found.steps == len(path) - 1
    assert steps is None or found.steps == steps
    assert steps is not None or found.steps < 50
    assert not found.converged
    assert apart(found.activities[:-1], z[:-1]) < SAME
    np.testing.assert_allclose(found.path.sum(-1), path, rtol=1e-9)


def test_the_preset_fills_in_what_is_not_written():
    paper = GradientInference(preset="paper")
    assert (paper.step, paper.max_steps, paper.halve) == (0.1, 50, True)
    assert paper.smallest_step == 0.025
    longer = GradientInference(preset="paper", max_steps=70)
    assert (longer.step, longer.max_steps) == (0.1, 70)
    assert GradientInference.model_validate_json(longer.model_dump_json()) == longer
    plain = GradientInference()
    assert (plain.halve, plain.smallest_step) == (False, 0)
    with pytest.raises(ValidationError, match="preset"):
        GradientInference(preset="notebook")


# --- Masks

linear = networks(("identity",), (DENSE,), gain=0.7, max_layers=3)


@quick
@given(arguments=linear, nothing=st.sampled_from([np.nan, np.inf, -1e300]))
def test_exact_inference_with_masks_is_the_theorys(arguments, nothing):
    problem = draw(*arguments[:2], False, *arguments[3:]).masked(nothing)
    batch = (problem.judge.weights, problem.x, problem.y, problem.precision)
    expected = equilibrium_activities(*batch)[:-1]
    output_errors = equilibrium_errors(*batch)[-1]
    found = Outcome(problem, ExactInference())
    assert apart(found.activities[:-1], expected) < SAME
    seen = problem.precision > 0
    assert apart(found.activities[-1][seen], problem.y[seen]) < SAME
    last = expected[-1] @ problem.judge.weights[-1].T
    assert apart(found.activities[-1][~seen], last[~seen]) < SAME
    energy = equilibrated_energy(*batch)
    assert apart(found.energies.sum(), energy) < SAME
    judged = layered.layered_energies(problem.judge, found.clamped, problem.precision)
    assert apart(found.energies, judged) < SAME
    assert (
        apart(
            problem.precision * output_errors,
            problem.precision * np.where(seen, problem.y - last, 0),
        )
        < SAME
    )
    assert found.residual < 1e-10
    assert np.all(found.slopes() < 1e-10)


@pytest.mark.parametrize("engine", MASKABLE)
@slower
@given(arguments=linear)
def test_engines_with_masks_find_the_equilibrium_of_the_theory(engine, arguments):
    problem = draw(*arguments[:2], False, *arguments[3:]).masked()
    batch = (problem.judge.weights, problem.x, problem.y, problem.precision)
    expected = equilibrium_activities(*batch)[:-1]
    slowest = {} if engine == "gauss_newton" else {"step": 0.1}
    found = Outcome(problem, arriving(engine, residual=1e-8, **slowest))
    assert found.converged
    curved = curvature.least_curvatures(problem.judge, found.clamped, problem.precision)
    far = np.linalg.norm(
        found.hidden - np.concatenate([problem.x[:, :0], *expected[1:]], axis=1), axis=1
    )
    assert np.all(far <= found.slopes() / curved + 1e-13)
    energy = equilibrated_energy(*batch)
    assert apart(found.energies.sum(), energy) < SAME


@every_engine
@slower
@given(
    arguments=networks(),
    dtype=st.sampled_from(answers.DTYPES),
    nothing=st.sampled_from([np.nan, np.inf, -1e30]),
    blank=st.booleans(),
)
def test_targets_that_are_not_observed_leak_nowhere(engine, arguments, dtype, nothing, blank):
    problem = draw(*arguments, dtype=dtype)
    if blank:
        problem.precision[0] = 0
    full, masked = (Outcome(p, STOPPED[engine], dtype) for p in (problem, problem.masked(nothing)))
    for ours, theirs in zip(full.activities, masked.activities, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert np.isfinite(ours).all()
    np.testing.assert_array_equal(full.energies, masked.energies)
    np.testing.assert_array_equal(full.sample_residuals, masked.sample_residuals)
    if blank:  # nothing pulls: the sample stays where it began
        assert masked.sample_residuals[0] <= (2**12 * np.finfo(dtype).eps if engine == "ode" else 0)
        for ours, begun in zip(
            masked.activities, layered.feedforward(problem.judge, problem.x), strict=True
        ):
            assert apart(ours[0], begun[0]) < 2**12 * np.finfo(dtype).eps


# --- When they stop


@every_engine
def test_a_budget_that_is_spent_is_not_convergence(engine):
    found = Outcome(draw(*ARCHITECTURES[0], 4, 0), STOPPED[engine])
    assert not found.converged
    assert 1e-15 < found.residual < math.inf
    if engine != "ode":
        assert found.steps == STOPPED[engine].max_steps


@pytest.mark.parametrize("engine", ARRIVING)
def test_a_looser_residual_costs_less(engine):
    problem = draw("tanh", "post", True, DENSE, (4, 5, 5, 3), 4, 0, 0.5)
    loose, tight = (Outcome(problem, arriving(engine, residual=r)) for r in (1e-1, 1e-4))
    assert loose.converged
    assert tight.converged
    assert tight.residual <= 1e-4 < loose.residual <= 1e-1
    assert loose.steps < tight.steps
    assert loose.passes < tight.passes


@pytest.mark.parametrize("dtype", answers.DTYPES)
@pytest.mark.parametrize("activation", ["identity", "leaky_relu"])
@pytest.mark.parametrize("kind", [GradientInference, ErrorInference])
def test_a_step_beyond_stability_never_converges(kind, activation, dtype):
    problem = draw(activation, "pre", True, DENSE, (4, 6, 6, 3), 4, 0, dtype=dtype).unmasked()
    if kind is GradientInference:
        largest = curvature.largest_curvatures(problem.judge, at_feedforward(problem)).max()
    else:  # I + KᵀK, of which K is the last layers' product
        largest = 1 + np.linalg.norm(problem.judge.weights[-1], 2) ** 2
    found = Outcome(problem, kind(step=6 / largest, max_steps=20_000), dtype)
    assert not found.converged
    assert not found.residual <= 1e3  # NaN is no number either
    assert found.steps < 20_000 or found.residual > 1e3


@pytest.mark.parametrize("dtype", answers.DTYPES)
@every_engine
def test_weights_that_are_not_numbers_end_it_at_once(engine, dtype):
    problem = draw(*ARCHITECTURES[0], 4, 0)
    problem.judge.weights[0][0, 0] = np.nan
    found = Outcome(problem, STOPPED[engine], dtype)
    assert not found.converged
    assert found.steps == 0
    assert math.isnan(found.residual)


@pytest.mark.parametrize("layer", range(3))
@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("engine", [*PLAIN, "exact"])
def test_a_weight_that_is_no_number_leaves_no_equilibrium(engine, nothing, layer):
    problem = draw("identity", "post", False, DENSE, (4, 5, 5, 3), 4, 0)
    problem.judge.weights[layer][0, 0] = nothing
    found = Outcome(problem, ExactInference() if engine == "exact" else PLAIN[engine])
    assert not found.converged
    assert found.steps < 10


LARGE = {"float32": 1e30, "float64": 1e200}  # the square of neither is a number


@pytest.mark.parametrize("dtype", answers.DTYPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("engine", "activation"),
    [("exact", "identity"), *((e, a) for e in PLAIN for a in ("identity", "tanh", "relu"))],
)
def test_weights_that_overflow_end_it_at_once(engine, activation, masked, dtype):
    problem = draw(activation, "post", False, DENSE, (4, 5, 5, 3), 4, 0)
    problem = problem.masked() if masked else problem.unmasked()
    for weight in problem.judge.weights:
        weight *= LARGE[dtype]
    asked = ExactInference() if engine == "exact" else PLAIN[engine]
    found = Outcome(problem, asked, dtype)
    assert not found.converged
    assert found.steps == 0
    assert not math.isfinite(found.residual)


@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e20), ("float64", 1e155)])
@pytest.mark.parametrize("engine", [*PLAIN, "exact"])
def test_an_energy_that_is_not_a_number_is_no_equilibrium(engine, dtype, large):
    """Relative to a start that is infinite every residual is 0."""
    problem = draw("identity", "post", False, DENSE, (4, 5, 5, 3), 4, 0).unmasked()
    problem.judge.weights[0][:] *= large
    asked = ExactInference() if engine == "exact" else PLAIN[engine]
    found = Outcome(problem, asked, dtype)
    assert not np.isfinite(found.energies).all()
    assert not found.converged


@pytest.mark.parametrize("engine", PLAIN)
def test_an_energy_that_is_not_a_number_is_no_equilibrium_where_forces_are_small(engine):
    problem = draw("identity", "post", False, DENSE, (4, 5, 5, 3), 4, 0).unmasked()
    problem.judge.weights[-1][:] *= 1e-50
    problem.y[:] *= 1e160
    found = Outcome(problem, PLAIN[engine])
    assert math.isfinite(found.residual)
    assert not found.converged


@pytest.mark.parametrize("engine", ["gradient", "paper", "error"])
@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e12), ("float64", 1e100)])
def test_numbers_that_overflow_on_the_way_end_it_there(engine, dtype, large):
    problem = draw("identity", "post", False, DENSE, (4, 5, 5, 3), 4, 0).unmasked()
    problem.judge.weights[1][0, 0] = large
    found = Outcome(problem, PLAIN[engine], dtype)
    assert not found.converged
    assert found.steps < 10


@every_engine
@quick
@given(arguments=networks(bodies=(DENSE,), max_layers=1))
def test_a_network_without_hidden_layers_has_nothing_to_infer(engine, arguments):
    problem = draw(*arguments).masked()
    found = Outcome(problem, STOPPED[engine])
    assert (found.steps, found.residual, found.converged) == (0, 0, True)
    assert not found.sample_residuals.any()
    batch = problem.judge, problem.x, problem.y, problem.precision
    assert apart(found.energies, np.array([layered.layered_loss(*batch)])) < SAME


@pytest.mark.parametrize("engine", [*ARRIVING, "exact"])
def test_where_the_last_layer_is_zero_nothing_pulls(engine):
    activation = "identity" if engine == "exact" else "tanh"
    problem = draw(activation, "post", False, DENSE, (4, 5, 5, 3), 4, 0).masked()
    problem.judge.weights[-1][:] = 0
    found = Outcome(problem, ExactInference() if engine == "exact" else arriving(engine))
    assert (found.steps, found.residual, found.converged) == (0, 0, True)
    assert apart(found.hidden, np.concatenate(at_feedforward(problem)[1:-1], axis=1)) < SAME


# --- Replicas


def smooth(architecture):
    return architecture[0] == "tanh" and architecture[3] != CONVOLVED[1]


# One step size of the flow serves all replicas; it creeps wherever there are kinks.
@pytest.mark.parametrize(
    ("engine", "architecture"),
    [(e, a) for e in STOPPED for a in ARCHITECTURES if e != "ode" or smooth(a)],
    ids=str,
)
def test_replicas_are_inferred_as_they_are_alone(engine, architecture):
    singles, model = replicated(architecture, gains=(1.5,) * 3)
    inference = STOPPED[engine].model_copy(update={"record": True})
    exactly = {"rtol": 1e-12, "atol": 1e-12}
    if engine == "ode":
        inference = inference.model_copy(update={"rtol": 1e-10, "atol": 1e-12})
        exactly = {"rtol": 1e-7, "atol": 1e-7}
    if engine == "paper":  # each halves on its own, and none is told to end
        inference = inference.model_copy(update={"step": 0.6, "max_steps": 7, "smallest_step": 0.0})
    alone = [Outcome(single, inference).raw for single in singles]
    _, _, (x, *_, y), precision = staged(singles[0])
    together = model.infer(x, y, inference, precision)
    answers_of = [
        (
            *raw.activities,
            raw.energies,
            raw.residual,
            raw.sample_residuals,
            *([] if engine == "ode" else [raw.path.mT]),
        )
        for raw in (together, *alone)
    ]
    for ours, *theirs in zip(*answers_of, strict=True):
        torch.testing.assert_close(ours.expand(3, *theirs[0].shape), torch.stack(theirs), **exactly)


def test_replicas_with_masks_are_inferred_exactly_as_they_are_alone():
    singles, model = replicated(("identity", "post", False, DENSE, (4, 5, 3, 2)))
    alone = [Outcome(single, ExactInference()).raw for single in singles]
    _, _, (x, *_, y), precision = staged(singles[0])
    together = model.infer(x, y, ExactInference(), precision)
    for ours, *theirs in zip(
        *((*raw.activities[1:], raw.energies) for raw in (together, *alone)), strict=True
    ):
        torch.testing.assert_close(ours, torch.stack(theirs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ["gradient", "gauss_newton", "error"])
def test_replicas_go_on_until_the_last_has_arrived(engine):
    singles, model = replicated(("tanh", "post", True, DENSE, (4, 5, 5, 3)), gains=(0.5,) * 3)
    inference = arriving(
        engine, residual=1e-6, **({} if engine == "gauss_newton" else {"step": 0.1})
    )
    alone = [Outcome(single, inference) for single in singles]
    _, _, (x, *_, y), precision = staged(singles[0])
    together = model.infer(x, y, inference, precision)
    assert together.converged
    assert together.steps == max(outcome.steps for outcome in alone)
    assert float(together.residual.max()) <= 1e-6


# Some arrive, each in its time, and of the others some rise or diverge, or are just slow.
GAINS = (0.5, 1.0, 2.3, 5.0)
ENDING = {
    "gradient": ("identity", GradientInference(step=0.2, residual=1e-2, max_steps=400)),
    "paper": ("leaky_relu", GradientInference(preset="paper", residual=0.05)),
    "error": ("identity", ErrorInference(step=0.1, residual=1e-2, max_steps=400)),
    "gauss_newton": ("tanh", GaussNewtonInference(residual=0.1, max_steps=12)),
}


@pytest.mark.parametrize("engine", ENDING)
def test_a_replica_ends_and_stays_where_it_ends_alone(engine):
    activation, inference = ENDING[engine]
    inference = inference.model_copy(update={"record": True})
    singles, model = replicated((activation, "post", True, DENSE, (5, 6, 6, 4)), gains=GAINS)
    alone = [Outcome(single, inference).raw for single in singles]
    _, _, (x, *_, y), precision = staged(singles[0])
    together = model.infer(x, y, inference, precision)
    assert len({raw.steps for raw in alone}) > 2
    assert {raw.converged for raw in alone} == {False, True}
    assert not together.converged
    assert together.steps == max(raw.steps for raw in alone)
    for replica, raw in enumerate(alone):
        ours = [*(z.expand(4, -1, -1) for z in together.activities), together.energies]
        theirs = [*raw.activities, raw.energies, raw.residual, raw.sample_residuals]
        ours += [together.residual, together.sample_residuals]
        for mine, its in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine[replica], its, rtol=1e-9, atol=1e-12, equal_nan=True)
        walked, stood = together.path[replica].tensor_split([raw.steps + 1])
        torch.testing.assert_close(walked, raw.path, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(stood, walked[-1:].expand_as(stood), rtol=0, atol=0)


@pytest.mark.parametrize("engine", ["gradient", "paper", "error", "gauss_newton"])
def test_a_replica_that_is_not_a_number_stops_no_other(engine):
    singles, model = replicated(("tanh", "post", True, DENSE, (4, 5, 5, 3)), gains=(0.5,) * 3)
    model.layers[1].affine.weight[1] = math.nan
    inference = PLAIN[engine].model_copy(update={"residual": 0.1})
    alone = [Outcome(single, inference).raw for single in (singles[0], singles[2])]
    _, _, (x, *_, y), precision = staged(singles[0])
    together = model.infer(x, y, inference, precision)
    assert all(raw.converged for raw in alone)
    assert not together.converged
    assert together.steps == max(raw.steps for raw in alone) > 0
    for ours, *theirs in zip(
        *((*raw.activities[1:], raw.energies) for raw in (together, *alone)), strict=True
    ):
        torch.testing.assert_close(ours[[0, 2]], torch.stack(theirs), rtol=1e-12, atol=1e-12)


def test_gauss_newton_gives_up_on_every_sample_where_it_would_alone():
    """On kinks no step that can be told from none lowers the energy."""
    problem = draw("relu", "post", True, DENSE, (4, 8, 8, 8, 3), 6, 0).unmasked()
    _, model, (x, *_, y), _ = staged(problem)
    asked = GaussNewtonInference(max_steps=2_000)
    together = model.infer(x, y, asked)
    alone = [model.infer(x[[n]], y[[n]], asked) for n in range(6)]
    assert {raw.converged for raw in alone} == {False, True}
    assert not together.converged
    assert together.steps == max(raw.steps for raw in alone) < 2_000
    for ours, *theirs in zip(*(raw.activities for raw in (together, *alone)), strict=True):
        torch.testing.assert_close(ours, torch.cat(theirs), rtol=0, atol=1e-13)


def test_gauss_newton_lets_no_sample_that_is_not_a_number_stop_another():
    problem = draw("tanh", "post", True, DENSE, (4, 5, 5, 3), 5, 0)
    problem.x[2] = math.nan
    found = Outcome(problem, GaussNewtonInference())
    assert not found.converged
    others = np.arange(5) != 2
    assert np.all(found.sample_residuals[others] <= 1e-6)
    assert math.isnan(found.sample_residuals[2])
    assert found.steps > 0


# --- What cannot be had


def test_without_torchdiffeq_the_ode_engine_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(BackendUnavailableError, match=r"needs torchdiffeq; install pcbench .*ode"):
        Outcome(draw(*ARCHITECTURES[0], 2, 0), OdeInference())
    assert Outcome(draw(*ARCHITECTURES[0], 2, 0), STOPPED["gradient"]).steps


@pytest.mark.parametrize(
    ("activation", "bias", "body"),
    [("tanh", False, DENSE), ("identity", True, DENSE), ("identity", False, CONVOLVED[0])],
)
def test_exact_inference_of_what_is_not_linear_is_refused_and_another_engine_named(
    activation, bias, body
):
    problem = draw(activation, "post", bias, body, (3, 4, 2), 2, 0)
    with pytest.raises(BackendUnavailableError, match="use engine: gauss_newton"):
        Outcome(problem, ExactInference())


@pytest.mark.parametrize("kind", [OdeInference, GaussNewtonInference, ErrorInference])
@pytest.mark.parametrize("residual", [0, -1, 1, 2])
def test_a_residual_is_a_fraction(kind, residual):
    with pytest.raises(ValidationError, match="residual"):
        kind(residual=residual)
