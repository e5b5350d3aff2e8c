"""The PyTorch backend's closed forms against the theory, on random linear networks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from pcbench.contract import BackendUnavailableError, ExactInference, GradientInference
from pcbench.networks import NetworkSpec
from pcbench.theory.arrays import chains_from_output
from pcbench.theory.linear.equilibrium import (
    equilibrated_energy,
    equilibrated_energy_gradient,
    equilibrium_activities,
    equilibrium_errors,
    loss,
    loss_gradient,
)
from tests.backends.torch import answers
from tests.helpers.closeness import SAME, apart
from tests.helpers.linear_problems import Problem, problems, random_problem

quick = settings(max_examples=40, deadline=None)
# Rounding of float32, through small networks.
CLOSE = {"float32": 1e-3, "float64": SAME}
ENGINES = {"exact": ExactInference(), "gradient": GradientInference(max_steps=20)}


@pytest.mark.parametrize("device", answers.DEVICES)
@pytest.mark.parametrize("dtype", answers.DTYPES)
@quick
@given(problem=problems(gains=(0.1, 1.0)))
def test_predictions_losses_energies_and_gradients_are_those_of_the_theory(device, dtype, problem):
    problem = problem.rounded(dtype)
    weights, x, y = problem.parts
    answer, close = answers.ask(problem, dtype, device=device), CLOSE[dtype]

    assert apart(answer.prediction, x @ chains_from_output(weights)[0].T) < close
    assert apart(answer.loss, loss(weights, x, y)) < close
    assert apart(answer.loss_gradients, loss_gradient(weights, x, y)) < close
    assert apart(answer.gradients, equilibrated_energy_gradient(weights, x, y)) < close
    errors = equilibrium_errors(weights, x, y)
    by_layer = [np.sum(e**2) / (2 * len(x)) for e in errors]
    assert apart(answer.energies, np.array(by_layer)) < close
    assert apart(answer.recomputed, np.array(by_layer)) < close
    assert apart(answer.energy, equilibrated_energy(weights, x, y)) < close


@pytest.mark.parametrize("dtype", answers.DTYPES)
@quick
@given(problem=problems(gains=(0.1, 1.0)))
def test_exact_inference_finds_the_equilibrium_and_arrives_at_the_target(dtype, problem):
    problem = problem.rounded(dtype)
    answer, close = answers.ask(problem, dtype), CLOSE[dtype]
    assert apart(answer.activities, equilibrium_activities(*problem.parts)) < close
    np.testing.assert_array_equal(answer.activities[0], problem.x)
    assert answer.steps == 0
    assert answer.converged
    assert answer.residual <= close


def test_the_output_that_exact_inference_returns_is_computed_and_no_copy_of_the_target():
    """Or it could not tell a wrong computation from a right one."""
    problem = random_problem((6, 30, 30, 30, 5), samples=50)
    _, model, x, y = answers.stage(problem)
    output = model.infer(x, y, ExactInference()).activities[-1]
    torch.testing.assert_close(output, y)
    assert not torch.equal(output, y)
    model.weights[1] = model.weights[1] * torch.nan
    assert model.infer(x, y, ExactInference()).activities[-1].isnan().any()


def test_the_energy_takes_the_output_as_clamped_however_far_the_recursion_misses_it():
    problem = random_problem((5, *[20] * 30, 4), samples=16, gain=1.2).rounded("float32")
    answer = answers.ask(problem, "float32")
    assert np.linalg.norm(answer.activities[-1] - problem.y) > 1e-5
    assert answer.energies[-1] == pytest.approx(answer.recomputed[-1], rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_units_of_the_batch_scale_the_energies_and_leave_the_residual(engine):
    problem = random_problem((4, 10, 10, 10, 3), samples=16)
    scale = 2.0**20  # exact in any arithmetic
    scaled = Problem(problem.weights, scale * problem.x, scale * problem.y)
    ours, theirs = (answers.ask(p, settings=ENGINES[engine]) for p in (scaled, problem))
    assert ours.residual == theirs.residual > 0
    np.testing.assert_array_equal(ours.energies, scale**2 * theirs.energies)


@quick
@given(problem=problems(gains=(0.1, 1.0)))
def test_networks_with_more_outputs_than_samples_are_no_exception(problem):
    problem = random_problem((*problem.network.widths, 7), samples=len(problem.x))
    answer = answers.ask(problem)
    assert apart(answer.activities, equilibrium_activities(*problem.parts)) < SAME
    assert apart(answer.energy, equilibrated_energy(*problem.parts)) < SAME


@pytest.mark.parametrize("engine", ENGINES)
@quick
@given(problem=problems(max_layers=1))
def test_a_network_without_hidden_layers_has_nothing_to_infer(engine, problem):
    answer = answers.ask(problem, settings=ENGINES[engine])
    assert (answer.steps, answer.residual, answer.converged) == (0, 0, True)
    assert apart(answer.energy, answer.loss) < SAME
    assert apart(answer.gradients, answer.loss_gradients) < SAME
    assert apart(answer.activities, [problem.x, problem.y]) < SAME


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", answers.DTYPES)
def test_every_answer_is_in_the_dtype_of_the_backend(engine, dtype):
    _, model, x, y = answers.stage(random_problem((3, 4, 2)), dtype)
    reached = model.infer(x, y, ENGINES[engine])
    vectors = torch.eye(3 * 4 + 4 * 2, dtype=x.dtype)
    found = [
        x,
        *model.weights,
        model.predict(x),
        model.loss(x, y),
        *model.loss_gradients(x, y),
        *reached.activities,
        reached.energies,
        reached.residual,
        model.energies(reached.activities),
        *model.energy_gradients(reached.activities),
        *(
            answers.hessian_of(model, objective, x, y).product(vectors)
            for objective in answers.OBJECTIVES
        ),
    ]
    assert {tensor.dtype for tensor in found} == {getattr(torch, dtype)}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_answer_has_the_shape_of_the_contract(engine):
    _, model, x, y = answers.stage(random_problem((3, 4, 5, 2), samples=6))
    shapes = [(4, 3), (5, 4), (2, 5)]
    reached = model.infer(x, y, ENGINES[engine])
    assert model.predict(x).shape == (6, 2)
    assert model.loss(x, y).shape == reached.residual.shape == ()
    assert reached.energies.shape == model.energies(reached.activities).shape == (3,)
    assert [tuple(z.shape) for z in reached.activities] == [(6, 3), (6, 4), (6, 5), (6, 2)]
    for gradients in (model.loss_gradients(x, y), model.energy_gradients(reached.activities)):
        assert [tuple(g.shape) for g in gradients] == shapes
    vectors = torch.zeros(7, sum(a * b for a, b in shapes), dtype=x.dtype)
    assert model.loss_hessian(x, y).product(vectors).shape == vectors.shape


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_that_is_given_is_changed(engine):
    problem, untouched = (random_problem((3, 4, 5, 2)) for _ in range(2))
    backend, model, x, y = answers.stage(problem)
    vectors = torch.eye(problem.network.n_parameters, dtype=torch.float64)
    reached = model.infer(x, y, ENGINES[engine])
    activities = [z.clone() for z in reached.activities]
    model.energies(reached.activities)
    model.energy_gradients(reached.activities)
    model.loss_gradients(x, y)
    for objective in answers.OBJECTIVES:
        answers.hessian_of(model, objective, x, y).product(vectors)

    now = (*model.weights, x, y)
    then = (*untouched.weights, untouched.x, untouched.y)
    for tensor, array in zip(now, then, strict=True):
        np.testing.assert_array_equal(backend.to_host(tensor), array)
    assert torch.equal(vectors, torch.eye(len(vectors), dtype=torch.float64))
    for ours, theirs in zip(reached.activities, activities, strict=True):
        assert torch.equal(ours, theirs)


def test_weights_and_batches_are_copies_of_the_host_arrays():
    problem = random_problem((3, 4, 2))
    _, model, x, _ = answers.stage(problem)
    problem.weights[0][:] = 7
    problem.x[:] = 7
    assert not (model.weights[0] == 7).any()
    assert not (x == 7).any()


@pytest.mark.parametrize("dtype", answers.DTYPES)
def test_arrays_of_any_layout_are_staged_and_come_back_as_float64(dtype):
    backend, *_ = answers.stage(random_problem((3, 2)), dtype)
    plain = np.arange(12.0).reshape(3, 4)
    frozen = plain.copy()
    frozen.flags.writeable = False
    for array in (plain, plain.T, plain[:, ::2], plain[::-1], frozen, np.asfortranarray(plain)):
        back = backend.to_host(backend.to_device(array))
        np.testing.assert_array_equal(back, array)
        assert back.dtype == np.float64


def test_exact_inference_of_a_network_that_is_not_linear_is_refused_by_name():
    backend, _, x, y = answers.stage(random_problem((3, 4, 2)))
    weights = [np.zeros((4, 3)), np.zeros((2, 4))]
    curved = backend.build(NetworkSpec((3, 4, 2), "tanh"), weights)
    biased = backend.build(NetworkSpec((3, 4, 2), bias=True), [*weights, np.zeros(4), np.zeros(2)])
    for model in (curved, biased):
        with pytest.raises(BackendUnavailableError, match=r"exact .* use engine: gauss_newton"):
            model.infer(x, y, ExactInference())


@pytest.mark.parametrize("device", answers.DEVICES)
def test_two_runs_give_the_same_bits(device):
    problem = random_problem((20, 50, 50, 50, 10), samples=32)
    for engine in ENGINES.values():
        first, again = (answers.ask(problem, "float32", engine, device) for _ in range(2))
        for ours, theirs in zip(first.activities, again.activities, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(first.energies, again.energies)
    first, again = (answers.hessian(random_problem((4, 5, 3)), "energy") for _ in range(2))
    np.testing.assert_array_equal(first, again)
