"""Linear networks in JAX: the closed form, and the Hessians at the paper's saddles."""

import numpy as np
import pytest

from pcbench.backends.jax import JaxBackend
from pcbench.contract import ExactInference, GradientInference
from pcbench.networks import PenultimateOnly, ZeroRank
from pcbench.theory.linear.equilibrium import (
    activity_hessian,
    contraction_rate,
    equilibrated_energy,
    equilibrated_energy_gradient,
    equilibrium_activities,
)
from pcbench.theory.linear.saddles import zero_rank_hessian
from tests.backends.jax.answers import CLOSE, DTYPES
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import problem_at, random_problem

WIDTHS = (3, 4, 5, 2)


def stage(problem, dtype="float64"):
    backend = JaxBackend("cpu", dtype)
    model = backend.build(problem.network, problem.weights)
    return backend, model, backend.to_device(problem.x), backend.to_device(problem.y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_inference_is_the_equilibrium_of_theorem_1(dtype):
    for seed, gain in enumerate((0.05, 1.0, 2.0)):
        problem = random_problem(WIDTHS, seed=seed, gain=gain).rounded(dtype)
        backend, model, x, y = stage(problem, dtype)
        reached = model.infer(x, y, ExactInference())
        assert (reached.steps, reached.converged) == (0, True)
        activities = [backend.to_host(z) for z in reached.activities]
        assert apart(activities, equilibrium_activities(*problem.parts)) < CLOSE[dtype]
        energies = backend.to_host(reached.energies)
        energy = equilibrated_energy(*problem.parts)
        np.testing.assert_allclose(energies.sum(), energy, rtol=CLOSE[dtype])
        gradients = [backend.to_host(g) for g in model.energy_gradients(reached.activities)]
        assert apart(gradients, equilibrated_energy_gradient(*problem.parts)) < CLOSE[dtype]
        assert np.max(backend.to_host(reached.sample_residuals)) < CLOSE[dtype]


def test_gradient_descent_shrinks_the_distance_at_the_rate_of_the_theory():
    problem = random_problem((4, 5, 6, 3))
    step = 1.5 / float(np.linalg.eigvalsh(activity_hessian(problem.weights))[-1])
    goal = equilibrium_activities(*problem.parts)
    backend, model, x, y = stage(problem)
    distances = []
    for steps in (200, 220):
        settings = GradientInference(step=step, max_steps=steps, residual=1e-15)
        reached = model.infer(x, y, settings)
        z = [backend.to_host(part) for part in reached.activities]
        distances.append(sum(np.sum((a - b) ** 2) for a, b in zip(z, goal, strict=True)) ** 0.5)
    rate = (distances[1] / distances[0]) ** (1 / 20)
    assert rate == pytest.approx(contraction_rate(problem.weights, step), rel=1e-3)


def test_where_nothing_pulls_inference_is_over_before_it_begins():
    """With W_L = 0 the feedforward activities are the equilibrium."""
    problem = problem_at(PenultimateOnly(), WIDTHS)
    _, model, x, y = stage(problem)
    for settings in (ExactInference(), GradientInference()):
        reached = model.infer(x, y, settings)
        assert (reached.steps, float(reached.residual), reached.converged) == (0, 0, True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_that_overflow_show_themselves(dtype):
    problem = random_problem(WIDTHS)
    for weight in problem.weights:
        weight *= np.finfo(dtype).max ** 0.6
    _, model, x, y = stage(problem, dtype)
    assert not model.infer(x, y, ExactInference()).converged


@pytest.mark.parametrize("objective", ["loss", "energy"])
def test_hessians_at_saddles_are_those_of_the_theory(objective):
    for initialisation in (PenultimateOnly(), ZeroRank()):
        problem = problem_at(initialisation, WIDTHS)
        backend, model, x, y = stage(problem)
        if objective == "loss":
            hessian = model.loss_hessian(x, y)
        else:
            hessian = model.energy_hessian(
                [*model.infer(x, y, ExactInference()).activities[:-1], y]
            )
        rows = backend.to_device(np.eye(problem.network.n_parameters))
        expected = zero_rank_hessian(*problem.parts, objective).toarray()
        assert apart(backend.to_host(hessian.product(rows)), expected) < SAME
        assert hessian.residual < 1e-12
        assert hessian.product(rows[:0]).shape == (0, problem.network.n_parameters)
