"""The JAX backend's networks against the judge's: values, energies, gradients, engines."""

import numpy as np
import pytest

from pcbench.contract import ErrorInference, GaussNewtonInference, GradientInference
from pcbench.theory.nonlinear import layered
from tests.backends.jax.answers import ARCHITECTURES, CLOSE, Staged, flat, true_residual
from tests.backends.torch.layered import draw
from tests.helpers.closeness import SMALL, apart

SEEDS = range(5)
ENGINES = {
    "gradient": GradientInference(step=0.1, residual=1e-3),
    "error": ErrorInference(step=0.1, residual=1e-3),
    "gauss_newton": GaussNewtonInference(residual=1e-7, max_steps=100),
}


def problem_of(name, seed=0, samples=4, dtype="float64", gain=1):
    return draw(*ARCHITECTURES[name], samples, seed, gain, dtype).masked()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float64") for name in ARCHITECTURES), ("leaky-pre-pooled", "float32")],
)
def test_values_and_gradients_are_the_judges(name, dtype):
    for seed in SEEDS:
        problem = problem_of(name, seed, dtype=dtype)
        at = Staged(problem, dtype)
        batch = problem.judge, problem.x, problem.y, problem.precision
        seen = problem.judge, problem.activities, problem.precision
        asked = (at.x, at.y, at.precision)
        pairs = [
            (at.model.predict(at.x), layered.feedforward(problem.judge, problem.x)[-1]),
            (at.model.loss(*asked), layered.layered_loss(*batch)),
            (at.model.loss_gradients(*asked), flat(layered.layered_loss_gradients(*batch))),
            (at.model.energies(at.z, at.precision), layered.layered_energies(*seen)),
            (
                at.model.energy_gradients(at.z, at.precision),
                flat(layered.energy_gradients(*seen)),
            ),
        ]
        for ours, judges in pairs:
            assert apart(at.host(ours), judges) < CLOSE[dtype]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("convention", ["post", "pre"])
def test_slopes_at_zero_are_the_judges(activation, convention):
    """Where a rectifier has its kink: with no input and no bias, everything is there."""
    architecture = (activation, convention, False, (None, ()), (4, 5, 3, 2))
    problem = draw(*architecture, 4, 0).unmasked()
    problem.x[:] = 0
    for z in problem.activities[1:-1]:
        z[:] = 0
    at = Staged(problem)
    ours = at.host(at.model.infer(at.x, at.y, GradientInference(max_steps=1)).activities)
    slopes = layered.activity_residuals(problem.judge, problem.activities)
    assert apart(ours[1:-1], [-0.1 * slope for slope in slopes]) < CLOSE["float64"]
    assert activation == "relu" or max(map(np.max, ours[1:-1])) > SMALL / 100


def test_of_equal_maxima_the_first_is_pulled_back_to():
    """Kernels of zeros make ties of everything; what each sees at the winner is its gradient."""
    problem = problem_of("leaky-pre-pooled")
    problem.judge.weights[0][:] = 0
    at = Staged(problem)
    ours = at.host(at.model.loss_gradients(at.x, at.y, at.precision))
    batch = problem.judge, problem.x, problem.y, problem.precision
    judges = flat(layered.layered_loss_gradients(*batch))
    assert apart(ours, judges) < CLOSE["float64"]
    assert np.linalg.norm(judges[0]) > SMALL


@pytest.mark.parametrize(
    ("name", "engine"),
    [("tanh-post", "gradient"), ("silu-pre", "error"), ("silu-pre", "gauss_newton")],
)
def test_every_engine_arrives_where_the_judge_finds_no_force(name, engine):
    for seed in SEEDS:
        problem = problem_of(name, seed, gain=0.7)
        at = Staged(problem)
        reached = at.infer(ENGINES[engine])
        activities = at.host(reached.activities)
        assert reached.converged
        assert np.isfinite(activities[-1]).all()  # also where the target is not a number
        residuals = true_residual(problem, activities)
        np.testing.assert_allclose(
            at.host(reached.sample_residuals), residuals, rtol=1e-5, atol=1e-13
        )
        largest = residuals if engine == "gauss_newton" else at.host(reached.residual)
        assert np.max(largest) <= ENGINES[engine].residual
        energies = layered.layered_energies(
            problem.judge, [*activities[:-1], problem.y], problem.precision
        )
        np.testing.assert_allclose(at.host(reached.energies), energies, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("reuse", [1, 4])
def test_gauss_newton_takes_few_steps_and_counts_its_passes(reuse):
    problem = problem_of("tanh-post", gain=0.7)
    reached = Staged(problem).infer(GaussNewtonInference(residual=1e-7, reuse=reuse))
    assert reached.converged
    assert 2 <= reached.steps <= 20
    linearised = -(-reached.steps // reuse)
    assert reached.passes == 3 * (1 + reached.steps) + linearised * (1 + 2)


def test_a_path_begins_feedforward_and_ends_where_inference_did():
    problem = problem_of("tanh-post")
    at = Staged(problem)
    settings = GradientInference(step=0.1, max_steps=7, residual=1e-9, record=True)
    reached = at.infer(settings)
    path = at.host(reached.path)
    assert path.shape == (8, 3)
    assert (reached.steps, reached.converged, reached.passes) == (7, False, 16)
    loss = layered.layered_loss(problem.judge, problem.x, problem.y, problem.precision)
    np.testing.assert_allclose(path[0], [0, 0, loss], rtol=1e-13)
    np.testing.assert_array_equal(path[-1], at.host(reached.energies))
    assert (np.diff(path.sum(-1)) < 0).all()


def test_the_step_is_halved_whenever_the_energy_rises_until_it_is_the_smallest():
    problem = problem_of("tanh-post", gain=2)
    settings = GradientInference(step=1.6, halve=True, smallest_step=0.1, record=True)
    at = Staged(problem)
    reached = at.infer(settings)
    total = at.host(reached.path).sum(-1)
    rose = np.diff(total) > 0
    assert rose.sum() == 4  # 1.6 · 2⁻⁴ is 0.1
    assert rose[-1]  # and there it ended
    assert not reached.converged


def test_what_is_not_finite_ends_inference_unconverged():
    problem = problem_of("tanh-post")
    problem.parameters[0][0, 0] = np.nan
    for settings in ENGINES.values():
        reached = Staged(problem).infer(settings)
        assert (reached.steps, reached.converged) == (0, False)


@pytest.mark.parametrize("name", ["relu-post", "leaky-pre-pooled"])
def test_what_is_no_number_is_passed_on_by_the_slopes_of_rectifiers(name):
    problem = problem_of(name)
    problem.parameters[0].flat[0] = np.nan
    at = Staged(problem)
    of_loss = at.model.loss_gradients(at.x, at.y, at.precision)
    of_energy = at.model.energy_gradients(at.z, at.precision)
    for gradients in (of_loss, of_energy):
        assert not np.isfinite(gradients[0]).all()


def test_gradients_of_a_mean_over_no_samples_are_no_numbers():
    problem = problem_of("tanh-post", samples=0)
    at = Staged(problem)
    of_loss = at.model.loss_gradients(at.x, at.y)
    of_energy = at.model.energy_gradients(at.z)
    for gradient in (*of_loss, *of_energy):
        assert np.isnan(gradient).all()
