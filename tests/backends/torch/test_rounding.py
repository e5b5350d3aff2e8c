"""Honest arithmetic stays inside the tolerances, and less precise arithmetic does not."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcbench.networks import Origin, PenultimateOnly, ZeroRank
from pcbench.theory.arrays import chains_from_output
from pcbench.theory.linear.equilibrium import (
    activity_hessian,
    equilibrated_energy,
    equilibrated_energy_gradient,
    equilibrium_activities,
    equilibrium_errors,
    loss,
    loss_gradient,
)
from pcbench.theory.linear.saddles import zero_rank_hessian, zero_rank_spectrum
from pcbench.theory.rounding.bounds import hessian_rounding, unfinished_inference, unit_roundoff
from pcbench.theory.rounding.perturbation import equilibrium_rounding, loss_gradient_rounding
from tests.backends.torch import answers
from tests.helpers import linear_definitions as definitions
from tests.helpers.linear_problems import (
    costly,
    points,
    problem_at,
    problems,
    random_problem,
    widths,
)
from tests.theory.linear.forces import feedforward_residual

samples = st.sampled_from([8, 32, 64])
usual = problems(gains=(0.1, 0.5, 1.0), max_width=10, samples=samples)
saddles = points(
    [Origin(), PenultimateOnly(), ZeroRank()],
    widths(min_layers=3, max_layers=5, min_width=2, max_width=5),
)


def used_up(bounds, problem, answer):
    """How much of each tolerance the errors of an answer use up."""
    gradients = equilibrated_energy_gradient(*problem.parts)
    return {
        "energy": abs(answer.energy - equilibrated_energy(*problem.parts)) / bounds.energy,
        "loss": abs(answer.loss - loss(*problem.parts)) / bounds.loss,
        "prediction": np.linalg.norm(answer.prediction - predicted(problem)) / bounds.prediction,
        "residual": answer.true_residual(problem) / bounds.residual,
        "output": np.linalg.norm(answer.activities[-1] - problem.y) / bounds.output,
    } | {
        f"gradient {layer}": np.linalg.norm(seen - wanted) / bound
        for layer, (seen, wanted, bound) in enumerate(
            zip(answer.gradients, gradients, bounds.gradients, strict=True), start=1
        )
    }


def predicted(problem):
    return problem.x @ chains_from_output(problem.weights)[0].T


def used_up_by_backpropagation(problem, dtype, answer):
    """The same of the gradients of the loss, the most of all layers."""
    bounds = loss_gradient_rounding(*problem.parts, unit_roundoff(dtype))
    gradients = loss_gradient(*problem.parts)
    return [
        np.linalg.norm(seen - wanted) / bound
        for seen, wanted, bound in zip(answer.loss_gradients, gradients, bounds, strict=True)
    ]


@settings(costly, max_examples=40)
@given(problem=usual)
def test_honest_backpropagation_stays_inside_the_bounds(problem):
    problem = problem.rounded("float32")
    for dtype in answers.DTYPES:
        answer = answers.ask(problem, dtype)
        assert max(used_up_by_backpropagation(problem, dtype, answer)) <= 1


@pytest.mark.slow
@settings(costly, max_examples=100)
@given(problem=usual)
@example(problem=random_problem((5, 12, 9, 12, 4), samples=1))
@example(problem=random_problem((2, 30, 7), samples=1))
@example(problem=random_problem((1, 1, 1, 1), samples=8))
def test_honest_equilibria_stay_inside_the_bounds(problem):
    problem = problem.rounded("float32")
    # A dense solve loses what the condition of H_z takes, of which two passes know nothing, and
    # errs by a part of its largest activities where two passes err by a part of each layer's.
    curvatures = np.linalg.eigvalsh(activity_hessian(problem.weights))
    sizes = [
        np.linalg.norm(part)
        for part in (
            *equilibrium_activities(*problem.parts)[1:-1],
            *equilibrium_errors(*problem.parts)[:-1],
        )
    ]
    dense_is_fair = curvatures.size == 0 or (
        curvatures[-1] < 100 * curvatures[0] and max(sizes) < 30 * min(sizes)
    )
    algorithms = {"the backend": answers.ask} | (
        {"a dense solve": answers.dense_answer} if dense_is_fair else {}
    )
    for dtype in answers.DTYPES:
        bounds = equilibrium_rounding(*problem.parts, unit_roundoff(dtype))
        for name, algorithm in algorithms.items():
            used = used_up(bounds, problem, algorithm(problem, dtype))
            assert max(used.values()) <= 1, (dtype, name, used)


@pytest.mark.parametrize("dtype", answers.DTYPES)
@pytest.mark.parametrize("seed", range(12))
def test_the_backend_stays_inside_the_bounds_in_networks_that_amplify(dtype, seed):
    """Here the judge's own rounding counts: Theorem 1 divides by an S that is far from I."""
    problem = random_problem((4, 6, 5, 6, 4, 5), seed=seed, gain=2.5).rounded(dtype)
    bounds = equilibrium_rounding(*problem.parts, unit_roundoff(dtype))
    used = used_up(bounds, problem, answers.ask(problem, dtype))
    assert max(used.values()) <= 1, used


def test_bounds_do_not_hang_on_a_single_draw_of_the_simulated_rounding():
    """With one output, S is one number: its rounding is one draw, however many the samples."""
    for seed in range(40):
        problem = random_problem((6, 9, 7, 8, 5, 1), samples=64, seed=seed, gain=0.1)
        problem = problem.rounded("float32")
        bounds = equilibrium_rounding(*problem.parts, unit_roundoff("float32"))
        used = used_up(bounds, problem, answers.ask(problem, "float32"))
        assert max(used.values()) <= 1, (seed, used)


@pytest.mark.parametrize("widths", [(5, 6, 4), (10, 20, 20, 20, 5), (40, 100, 100, 10)])
def test_single_precision_sold_as_double_is_outside_every_bound_on_the_equilibrium(widths):
    problem = random_problem(widths, samples=20).rounded("float32")
    bounds = equilibrium_rounding(*problem.parts, unit_roundoff("float64"))
    used = used_up(bounds, problem, answers.ask(problem, "float32"))
    assert min(used.values()) > 1e3, used
    of_loss = used_up_by_backpropagation(problem, "float64", answers.ask(problem, "float32"))
    assert min(of_loss) > 1e3


@pytest.mark.parametrize("objective", answers.OBJECTIVES)
@pytest.mark.parametrize("dtype", answers.DTYPES)
@settings(max_examples=30, deadline=None)
@given(point=saddles)
def test_honest_hessians_stay_inside_the_bounds(dtype, objective, point):
    problem = problem_at(*point).rounded(dtype)
    entries = zero_rank_hessian(*problem.parts, objective).toarray()
    spectrum = zero_rank_spectrum(*problem.parts, objective)
    bounds = hessian_rounding(*problem.parts, unit_roundoff(dtype))
    for observed in (answers.hessian(problem, objective, dtype), dense(problem, objective, dtype)):
        assert np.abs(observed - entries).max() <= bounds.entry
        eigenvalues = np.linalg.eigvalsh((observed + observed.T) / 2)
        assert np.abs(eigenvalues - spectrum).max() <= bounds.eigenvalue


def dense(problem, objective, dtype):
    """Differentiate through a dense solve in that dtype."""
    weights = definitions.tensors(problem.weights, getattr(torch, dtype))
    x, y = definitions.tensors([problem.x, problem.y], getattr(torch, dtype))
    function = definitions.OBJECTIVES[objective]
    return definitions.hessian(lambda moved: function(moved, x, y), weights).double().numpy()


def test_a_hessian_in_single_precision_sold_as_double_is_outside_the_bounds():
    problem = problem_at(ZeroRank(), (5, 6, 6, 6, 4), samples=20).rounded("float32")
    bounds = hessian_rounding(*problem.parts, unit_roundoff("float64"))
    observed = answers.hessian(problem, "energy", "float32")
    wanted = zero_rank_hessian(*problem.parts, "energy").toarray()
    assert np.abs(observed - wanted).max() > 1e3 * bounds.entry


@pytest.mark.parametrize("dtype", answers.DTYPES)
@costly
@given(
    problem=problems(min_layers=2, max_layers=4, gains=(0.1, 0.5, 1.0), samples=samples),
    residual=st.sampled_from([0.5, 0.1, 1e-2, 1e-3]),
)
def test_gradient_inference_that_stopped_early_stays_inside_both_bounds(dtype, problem, residual):
    problem = problem.rounded(dtype)
    answer = answers.ask(problem, dtype, answers.steady(problem, residual=residual))
    assert answer.converged
    asked = residual * feedforward_residual(*problem.parts)
    rounding = equilibrium_rounding(*problem.parts, unit_roundoff(dtype))
    unfinished = unfinished_inference(*problem.parts, asked)

    assert answer.true_residual(problem) <= asked + rounding.residual
    gap = answer.energy - equilibrated_energy(*problem.parts)
    assert -rounding.energy <= gap <= unfinished.energy + rounding.energy
    for seen, wanted, first, second in zip(
        answer.gradients,
        equilibrated_energy_gradient(*problem.parts),
        rounding.gradients,
        unfinished.gradients,
        strict=True,
    ):
        assert np.linalg.norm(seen - wanted) <= first + second
