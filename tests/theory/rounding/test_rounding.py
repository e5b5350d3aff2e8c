"""Tolerances as such: pure functions, linear in the unit roundoff, small enough to mean something.

That honest arithmetic stays inside them is tested beside the backends.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.networks import Origin, PenultimateOnly, ZeroRank
from pcbench.theory.linear.equilibrium import (
    activities_from_errors,
    activity_hessian,
    equilibrated_energy,
    equilibrated_energy_gradient,
    equilibrium_errors,
    loss,
    output_covariance_norm,
    prediction_errors,
)
from pcbench.theory.linear.saddles import zero_rank_spectrum
from pcbench.theory.rounding import underflow
from pcbench.theory.rounding.bounds import (
    CONFIDENCE,
    direct_solve_residual,
    hessian_rounding,
    unfinished_inference,
    unit_roundoff,
)
from pcbench.theory.rounding.perturbation import equilibrium_rounding
from tests.helpers import linear_definitions as definitions
from tests.helpers.closeness import SAME
from tests.helpers.linear_problems import (
    costly,
    points,
    problem_at,
    problems,
    random_problem,
    seeds,
    widths,
)
from tests.theory.linear.forces import feedforward_residual, residual_norm

U = {"float32": 2.0**-24, "float64": 2.0**-53}
quick = settings(max_examples=40, deadline=None)
few = settings(max_examples=20, deadline=None)
usual = problems(gains=(0.5, 1.0), samples=st.sampled_from([16, 64]))


def flat(bounds):
    return np.array([bounds.energy, bounds.loss, bounds.residual, bounds.output, *bounds.gradients])


@pytest.mark.parametrize("dtype", U)
def test_unit_roundoff_is_half_the_distance_to_the_next_number(dtype):
    one = np.ones((), dtype)
    assert unit_roundoff(dtype) == U[dtype]
    assert unit_roundoff(dtype) == float(np.nextafter(one, one * 2) - one) / 2


@costly
@given(problem=usual)
def test_bounds_at_equilibrium_are_positive_and_one_a_layer(problem):
    bounds = equilibrium_rounding(*problem.parts, U["float32"])
    assert (flat(bounds) > 0).all()
    assert len(bounds.gradients) == len(problem.weights)


def lost(problem):
    """What may be flushed to zero, in the twofold bounds that are compared here 16 times over."""
    weights, x, y = problem.parts
    errors = equilibrium_errors(weights, x, y)
    return 16 * underflow.underflow(weights, [*errors, *activities_from_errors(weights, x, errors)])


@costly
@given(problem=usual, factor=st.sampled_from([0.5, 2.0, 16.0]))
def test_bounds_at_equilibrium_grow_with_the_unit_roundoff(problem, factor):
    one, other = (
        flat(equilibrium_rounding(*problem.parts, u)) for u in (U["float32"], factor * U["float32"])
    )
    # What can underflow is allowed whatever the unit roundoff.
    np.testing.assert_allclose(other[2:], factor * one[2:], rtol=1e-6, atol=lost(problem))
    # Energy and loss have a part of second order besides.
    low, high = sorted((factor, factor**2))
    assert (low * (1 - 1e-6) <= other[:2] / one[:2]).all()
    assert (other[:2] / one[:2] <= high * (1 + 1e-6)).all()


def test_energy_and_loss_are_bounded_linearly_where_rounding_is_small():
    problem = random_problem((5, 6, 7, 3))
    whole, half = (equilibrium_rounding(*problem.parts, u) for u in (2.0**-32, 2.0**-33))
    np.testing.assert_allclose(flat(whole) / flat(half), 2, rtol=1e-4)


@few
@given(point=points([Origin(), PenultimateOnly(), ZeroRank()], widths(min_layers=3, min_width=2)))
def test_bounds_on_a_hessian_are_linear_in_the_unit_roundoff(point):
    problem = problem_at(*point)
    one, two = (hessian_rounding(*problem.parts, u) for u in (U["float64"], U["float32"]))
    ratio = U["float32"] / U["float64"]
    assert two.entry == pytest.approx(ratio * one.entry)
    assert two.eigenvalue == pytest.approx(ratio * one.eigenvalue)
    assert 0 < one.entry <= one.eigenvalue


def test_a_tolerance_is_a_function_of_the_problem_alone():
    problem, other = random_problem((5, 6, 3)), random_problem((4, 4, 4))
    first = equilibrium_rounding(*problem.parts, U["float32"])
    np.random.seed(9)  # noqa: NPY002
    equilibrium_rounding(*other.parts, U["float32"])
    assert equilibrium_rounding(*problem.parts, U["float32"]) == first
    state = np.random.get_state()[1]  # noqa: NPY002
    np.random.seed(9)  # noqa: NPY002
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@costly
@given(problem=usual)
def test_bounds_on_the_energy_of_usual_networks_are_tight(problem):
    size = loss(*problem.parts) + 1
    for dtype, relative in (("float32", 1e-2), ("float64", 1e-10)):
        bounds = equilibrium_rounding(*problem.parts, U[dtype])
        assert bounds.energy < relative * size
        assert bounds.loss < relative * size


@pytest.mark.parametrize(("dtype", "relative"), [("float32", 1e-2), ("float64", 1e-11)])
def test_bounds_are_far_below_what_they_bound_in_a_network_of_the_papers_size(dtype, relative):
    problem = random_problem((40, 300, 300, 300, 10), samples=64)
    bounds = equilibrium_rounding(*problem.parts, U[dtype])
    assert bounds.energy < relative * equilibrated_energy(*problem.parts)
    assert bounds.loss < relative * loss(*problem.parts)
    gradients = equilibrated_energy_gradient(*problem.parts)
    for bound, gradient in zip(bounds.gradients, gradients, strict=True):
        assert bound < relative * np.linalg.norm(gradient)
    assert bounds.residual < relative * feedforward_residual(*problem.parts)
    assert bounds.output < relative * np.linalg.norm(problem.y)


@few
@given(point=points([Origin(), PenultimateOnly(), ZeroRank()], widths(min_layers=3, min_width=2)))
def test_bounds_on_a_hessian_are_far_below_its_least_eigenvalue(point):
    problem = problem_at(*point)
    least = zero_rank_spectrum(*problem.parts, "energy")[0]
    for dtype, relative in (("float32", 5e-2), ("float64", 1e-10)):
        bounds = hessian_rounding(*problem.parts, U[dtype])
        assert bounds.eigenvalue < relative * -least


@pytest.mark.parametrize("gain", [10.0, 20.0, 40.0])
def test_bounds_exist_for_networks_whose_outputs_are_nearly_dependent(gain):
    """λ_max(S) is 1e8 and more: the simulated rounding must not break the factorisation of S."""
    problem = random_problem((12, 10, 12, 10, 12, 10), gain=gain)
    assert output_covariance_norm(problem.weights) > 1e8
    bounds = equilibrium_rounding(*problem.parts, U["float64"])
    assert np.isfinite(flat(bounds)).all()


# Unfinished inference


def missed(problem, displacement):
    """What energy and gradients miss away from equilibrium, and the residual there."""
    weights, x, y = problem.tensors
    goal = definitions.equilibrium(weights, x, y)
    hidden = torch.cat(goal[1:-1], dim=1) + displacement
    there = definitions.between(weights, x, hidden, y)
    gap = definitions.energy(weights, there) - definitions.energy(weights, goal)
    at_goal, at_there = (
        definitions.gradients(lambda moved, z=z: definitions.energy(moved, z), weights)
        for z in (goal, there)
    )
    off = [float((a - b).norm()) for a, b in zip(at_goal, at_there, strict=True)]
    return float(gap), off, float(definitions.activity_gradient(weights, there).norm())


@settings(max_examples=40, deadline=None)
@given(problem=problems(min_layers=2), seed=seeds, size=st.sampled_from([1e-3, 0.1, 10.0]))
def test_unfinished_inference_misses_no_more_than_its_residual_allows(problem, seed, size):
    shape = (len(problem.x), sum(map(len, problem.weights[:-1])))
    displacement = size * torch.tensor(np.random.default_rng(seed).standard_normal(shape))
    gap, off, residual = missed(problem, displacement)
    bounds = unfinished_inference(*problem.parts, residual)
    cancelled = 1e-14 * loss(*problem.parts)
    assert -cancelled <= gap <= bounds.energy * (1 + SAME) + cancelled
    assert (np.array(off) <= np.array(bounds.gradients) * (1 + SAME)).all()


@settings(max_examples=40, deadline=None)
@given(problem=problems(min_layers=2))
def test_a_dense_solution_in_float32_leaves_no_more_than_its_bound(problem):
    weights, x, y = problem.parts
    hessian = activity_hessian(weights).astype(np.float32)
    force = np.zeros((len(x), len(hessian)))
    force[:, : len(weights[0])] += x @ weights[0].T
    force[:, len(hessian) - weights[-1].shape[1] :] += y @ weights[-1]
    solved = np.linalg.solve(hessian, force.T.astype(np.float32)).T.astype(float)
    cuts = np.cumsum([len(weight) for weight in weights[:-1]])[:-1]
    activities = [x, *np.split(solved, cuts, axis=1), y]
    left = residual_norm(weights, prediction_errors(weights, activities))
    assert left <= direct_solve_residual(weights, x, y, 2.0**-24)


@settings(max_examples=40, deadline=None)
@given(problem=problems(min_layers=2))
def test_the_bound_on_unfinished_energy_is_reached_along_the_softest_direction(problem):
    _, directions = np.linalg.eigh(activity_hessian(problem.weights))
    displacement = np.zeros((len(problem.x), len(directions)))
    displacement[0] = 0.1 * directions[:, 0]
    gap, _, residual = missed(problem, torch.tensor(displacement))
    bounds = unfinished_inference(*problem.parts, residual)
    assert gap == pytest.approx(bounds.energy, rel=1e-6)


def test_less_residual_allows_less_to_be_missed():
    problem = random_problem((3, 4, 5, 2))
    more, less = (unfinished_inference(*problem.parts, r) for r in (1e-2, 1e-3))
    assert less.energy == pytest.approx(more.energy / 100)
    assert all(a < b for a, b in zip(less.gradients, more.gradients, strict=True))
    nothing = unfinished_inference(*problem.parts, 0.0)
    assert (nothing.energy, *nothing.gradients) == (0, 0, 0, 0)


def test_the_confidence_is_what_the_document_promises():
    # 2 exp(-λ²/2) for one comparison: under 1e-13.
    assert 2 * np.exp(-(CONFIDENCE**2) / 2) < 1e-13
