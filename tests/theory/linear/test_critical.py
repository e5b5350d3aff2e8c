"""Critical points of the equilibrated energy: identities anywhere, certificates where they hold."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pcbench.theory.arrays import chains_from_output
from pcbench.theory.linear import critical, equilibrium
from pcbench.theory.linear.critical import (
    certificate,
    curvature_along,
    curvature_rounding,
    energy_series,
)
from pcbench.theory.linear.equilibrium import equilibrated_energy, residuals
from tests.helpers import linear_definitions as definitions
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import Problem, problems, random_problem, seeds
from tests.theory.linear.nonstrict import non_strict_saddle

quick = settings(max_examples=40, deadline=None)
deep = problems(min_layers=2, max_layers=5, max_width=4)
OFF = 1e-9


def gradients(problem):
    _, x, y = problem.tensors
    found = definitions.gradients(
        lambda weights: definitions.equilibrated_energy(weights, x, y), problem.tensors[0]
    )
    return [gradient.numpy() for gradient in found]


def hessian(problem):
    weights, x, y = problem.tensors
    return definitions.hessian(
        lambda moved: definitions.equilibrated_energy(moved, x, y), weights
    ).numpy()


def flat(layers):
    return np.concatenate([layer.ravel() for layer in layers])


# Lemma A, at every point


@quick
@given(problem=deep)
def test_the_slope_along_a_scaling_is_minus_the_force_of_the_output(problem):
    slopes = critical.scaling_slopes(problem.weights, gradients(problem))
    forces = critical.output_forces(*problem.parts)
    assert len(slopes) == len(forces) == len(problem.weights) - 1
    assert apart(slopes, -forces) < SAME


@quick
@given(problem=deep)
def test_what_the_gradient_bounds_is_bounded_at_every_point(problem):
    n, weights = len(problem.x), problem.weights
    forces = critical.output_forces(*problem.parts)
    bounds = critical.scaling_bounds(weights, [np.linalg.norm(g) for g in gradients(problem)])
    assert (forces <= bounds * (1 + SAME)).all()

    r = residuals(*problem.parts)
    pulled = [np.linalg.norm(r @ p) for p in chains_from_output(weights)[1:-1]]
    limits = critical.residual_bounds(weights, forces, n)
    assert (pulled <= limits * (1 + SAME)).all()

    excess = equilibrium.loss(*problem.parts) - equilibrated_energy(*problem.parts)
    lost = 1e-14 * equilibrium.loss(*problem.parts)  # by the difference of what is nearly the same
    assert -SAME <= excess <= critical.loss_excess_bound(weights, forces, n) * (1 + SAME) + lost

    least = critical.last_layer_bound(r, float(limits[-1]))
    assert np.linalg.norm(weights[-1]) <= least * (1 + SAME)


def test_the_corollary_is_silent_where_an_output_is_fitted():
    residual = np.array([[1.0, 0.0], [2.0, 0.0], [0.5, 0.0]])
    assert critical.last_layer_bound(residual, 1.0) == np.inf
    assert critical.last_layer_bound(residual[:1], 1.0) == np.inf  # fewer samples than outputs


def test_no_output_is_fitted_exactly_under_noise_and_some_is_without():
    problem = random_problem((2, 3, 2), samples=9)
    assert critical.least_misfit(problem.x, problem.y) > 1e-3
    linear = problem.x @ np.ones((2, 2))
    assert critical.least_misfit(problem.x, linear) < SAME


# The power series


@quick
@given(problem=problems(min_layers=1, max_layers=5, max_width=4), seed=seeds)
def test_second_order_is_the_hessian_of_the_definition(problem, seed):
    rng = np.random.default_rng(seed)
    directions = [rng.standard_normal(weight.shape) for weight in problem.weights]
    v, whole = flat(directions), hessian(problem)
    scale = max(1.0, np.abs(whole).max()) * (v @ v)
    found = curvature_along(problem.weights, directions, problem.x, problem.y)
    assert abs(found - v @ whole @ v) / scale < SAME


def test_higher_orders_are_derivatives_of_the_definition():
    problem = random_problem((2, 3, 2, 2), seed=4)
    rng = np.random.default_rng(0)
    directions = [rng.standard_normal(weight.shape) for weight in problem.weights]
    weights, x, y = problem.tensors
    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    along = [w + t * v for w, v in zip(weights, definitions.tensors(directions), strict=True)]
    value = definitions.equilibrated_energy(along, x, y)
    expected, factorial = [], 1.0
    for order in range(5):
        expected.append(float(value.detach()) / factorial)
        [value] = torch.autograd.grad(value, t, create_graph=True)
        factorial *= order + 1
    found = energy_series(problem.weights, directions, problem.x, problem.y, 4)
    assert apart(found, np.array(expected)) < 1e-8


def test_the_series_keeps_the_precision_that_comes_in():
    problem = random_problem((2, 2, 2))
    weights, x, y = problem.parts
    long = [np.asarray(part, np.longdouble) for part in (*weights, x, y)]
    found = energy_series(long[:2], long[:2], long[2], long[3], 2)
    assert found.dtype == np.longdouble
    assert apart(found.astype(float), energy_series(weights, weights, x, y, 2)) < SAME


@pytest.mark.parametrize("seed", range(5))
def test_the_rounding_of_a_curvature_is_bounded_where_s_is_badly_conditioned(seed):
    problem = random_problem((2, 3, 3, 2), seed=seed, gain=20.0)
    rng = np.random.default_rng(seed)
    directions = [rng.standard_normal(weight.shape) for weight in problem.weights]
    length = np.sqrt(sum(np.sum(d**2) for d in directions))
    directions = [d / length for d in directions]
    plain = 2 * energy_series(problem.weights, directions, problem.x, problem.y, 2)[2]
    better = curvature_along(problem.weights, directions, problem.x, problem.y)
    steepest = float(np.abs(np.linalg.eigvalsh(hessian(problem))).max())
    bound = curvature_rounding(problem.weights, steepest)
    in_float64 = bound * np.finfo(np.float64).eps / np.finfo(np.longdouble).eps
    assert abs(plain - better) <= in_float64


# Critical points, constructed


def critical_point(widths, taken, seed=0, spare=0):
    """Build a critical point on noise-free targets that takes these eigenvectors of ``Σ_yy`` up.

    ``spare`` more rows of ``W_{L-1:1}`` see only inputs that do not matter, and ``W_L`` not them.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((12, widths[0]))
    teacher = rng.standard_normal((widths[-1], widths[0]))
    y, moments = x @ teacher.T, x.T @ x / len(x)
    vectors = np.linalg.eigh(y.T @ y / len(y))[1][:, list(taken)]
    silent = np.linalg.svd(teacher @ moments)[2][widths[-1] :][:spare]
    rows = np.concatenate([vectors.T @ teacher, silent])
    kept = len(rows)
    weights = [np.eye(out, inp) for inp, out in pairwise(widths)]
    for weight in weights:
        weight[kept:, kept:] = 0
    weights[0] = np.zeros_like(weights[0])
    weights[0][:kept] = rows
    weights[-1] = np.zeros_like(weights[-1])
    weights[-1][:, : len(taken)] = vectors
    for layer in range(len(weights) - 1):
        turn = np.eye(len(weights[layer])) + 0.4 * rng.standard_normal((len(weights[layer]),) * 2)
        weights[layer] = turn @ weights[layer]
        weights[layer + 1] = weights[layer + 1] @ np.linalg.inv(turn)
    return Problem(weights, x, y)


def subsets(n, most):
    return [taken for rank in range(most + 1) for taken in combinations(range(n), rank)]


WIDE = [((3, 3, 3), t, 0) for t in subsets(3, 3)] + [((2, 4, 3, 2), t, 0) for t in subsets(2, 2)]
SPARE = [((4, 3, 2, 2), t, 2 - len(t)) for t in subsets(2, 1)]
TIGHT = [((4, 3, 2, 3), t, 0) for t in subsets(3, 2) if len(t) == 2]
TIGHT += [((3, 1, 3), t, 0) for t in subsets(3, 1) if len(t) == 1]
constructed = pytest.mark.parametrize(("widths", "taken", "spare"), WIDE + SPARE + TIGHT)


@constructed
@pytest.mark.parametrize("seed", range(3))
def test_a_constructed_point_is_critical_and_on_one_of_the_levels(widths, taken, spare, seed):
    problem = critical_point(widths, taken, seed, spare)
    assert np.linalg.norm(flat(gradients(problem))) < 1e-9
    energy = equilibrated_energy(*problem.parts)
    assert equilibrium.loss(*problem.parts) == pytest.approx(energy, abs=1e-10)
    assert critical.output_forces(*problem.parts).max() < 1e-9
    eigenvalues = np.linalg.eigvalsh(problem.y.T @ problem.y / len(problem.y))
    left = np.delete(eigenvalues, list(taken)).sum() / 2
    assert energy == pytest.approx(left, abs=1e-9)
    assert np.abs(critical.energy_levels(problem.y, widths) - left).min() < 1e-9


@constructed
@pytest.mark.parametrize("seed", range(3))
def test_a_critical_point_is_a_global_minimum_or_certified_and_strict(widths, taken, spare, seed):
    problem = critical_point(widths, taken, seed, spare)
    found = certificate(*problem.parts, OFF)
    least = critical.least_energy(problem.y, widths[-2])
    if found is None:
        assert equilibrated_energy(*problem.parts) == pytest.approx(least, abs=1e-9)
        assert np.linalg.eigvalsh(hessian(problem))[0] > -1e-9
        return
    assert equilibrated_energy(*problem.parts) > least + 1e-6
    whole, v = hessian(problem), flat(found.directions)
    assert np.linalg.norm(v) == pytest.approx(1)
    measured = v @ whole @ v
    assert found.curvature < 0
    if found.lemma == "D":
        assert measured <= found.curvature + 1e-9
        loss = definitions.hessian(
            lambda moved: definitions.loss(moved, *problem.tensors[1:]), problem.tensors[0]
        ).numpy()
        assert v @ loss @ v == pytest.approx(found.curvature, rel=1e-8)
    else:
        assert measured == pytest.approx(found.curvature, rel=1e-8, abs=1e-9)
    full = len(taken) + spare == widths[-2]
    assert found.lemma == ("B" if not full else "C" if spare else "D")


@quick
@given(seed=seeds, noise=st.sampled_from([0.1, 1.0]))
def test_under_noise_points_with_a_zero_last_layer_are_certified_too(seed, noise):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((9, 3))
    y = x @ rng.standard_normal((3, 2)) + noise * rng.standard_normal((9, 2))
    # The one input direction that tells nothing of the targets is all that the hidden unit sees.
    unseen = np.linalg.svd((x.T @ y).T)[2][-1]
    problem = Problem([unseen[None], np.ones((1, 1)), np.zeros((2, 1))], x, y)
    assert np.linalg.norm(flat(gradients(problem))) < 1e-9
    found = certificate(*problem.parts, OFF)
    assert found is not None
    assert found.lemma == "C"
    v = flat(found.directions)
    assert v @ hessian(problem) @ v == pytest.approx(found.curvature, rel=1e-8)


@quick
@given(problem=deep)
def test_no_energy_is_below_the_least_on_noise_free_targets(problem):
    y = problem.x @ np.random.default_rng(0).standard_normal((problem.x.shape[1], 3))
    weights = [*problem.weights[:-1], np.ones((3, problem.weights[-1].shape[1]))]
    least = critical.least_energy(y, weights[-1].shape[1])
    assert equilibrated_energy(weights, problem.x, y) >= least - SAME


def test_the_curvature_of_lemma_b_is_what_central_differences_measure():
    problem = critical_point((3, 3, 3), (0,))
    found = certificate(*problem.parts, OFF)
    assert found is not None

    def energy(t):
        moved = [w + t * v for w, v in zip(problem.weights, found.directions, strict=True)]
        return equilibrated_energy(moved, problem.x, problem.y)

    step = 1e-4
    measured = (energy(step) - 2 * energy(0.0) + energy(-step)) / step**2
    assert measured == pytest.approx(found.curvature, rel=1e-5)


# The saddle that is not strict


@pytest.mark.parametrize(("b_1", "b_2", "s"), [(2.0, 1.0, 2.0), (1.5, 0.5, 3.0)])
def test_the_saddle_is_critical_and_has_no_negative_curvature(b_1, b_2, s):
    problem = Problem(*non_strict_saddle(b_1, b_2, s))
    assert np.linalg.norm(flat(gradients(problem))) < 1e-12
    eigenvalues = np.linalg.eigvalsh(hessian(problem))
    assert np.abs(eigenvalues[:2]).max() < 1e-12
    assert eigenvalues[2] > 0.1


def test_the_saddle_has_lower_and_higher_points_however_near():
    weights, x, y = non_strict_saddle()
    c = weights[1][0, 0]
    here = equilibrated_energy(weights, x, y)
    for size in (1e-1, 1e-2):
        around = []
        for angle in np.linspace(0, 2 * np.pi, 24):
            grown = c + size * np.cos(angle)
            # The kernel of the plane's Hessian: ε = t b_2/c² to first order.
            t = size * np.sin(angle)
            moved = [np.array([[2.0 / grown, t / c**2]]), np.array([[grown], [t]])]
            around.append(equilibrated_energy(moved, x, y))
        assert min(around) < here - 1e-3 * size**3 < here + 1e-3 * size**3 < max(around)


def test_the_saddle_meets_the_usual_assumptions_on_data():
    _, x, y = non_strict_saddle()
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(2))
    sizes = np.linalg.svd(x.T @ y / len(x), compute_uv=False)
    np.testing.assert_allclose(sizes, [2.0, 1.0])


def test_no_certificate_is_given_to_the_saddle():
    assert certificate(*non_strict_saddle(), OFF) is None


@pytest.mark.parametrize("numbers", [(1.0, 2.0, 5.0), (2.0, 1.0, 1.0)])
def test_there_is_no_such_saddle_for_other_numbers(numbers):
    with pytest.raises(ValueError, match="does not hold"):
        non_strict_saddle(*numbers)
