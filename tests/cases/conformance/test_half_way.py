"""Who stops half way fails, whatever it says of that; only what rounding hides is undecided.

Answers are put where they are wanted, with an account that is true, by the theory's definitions.
"""

from dataclasses import replace

import numpy as np
import pytest

from pcbench.backends.torch import TorchBackend
from pcbench.cases.conformance.draw import Draw
from pcbench.cases.conformance.inference.engines import Asked, ask_for, verdicts
from pcbench.cases.equilibrated_energy import TheoremJudge
from pcbench.contract import (
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    OdeInference,
)
from pcbench.judges.answers import InferenceResult, Subject
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import rounded
from pcbench.theory.nonlinear.layered import activity_residuals, feedforward, layered_energies

pytestmark = pytest.mark.usefixtures("without_shapes")
BUDGET = "residual within the budget"


def problem_of(layers, number, dtype):
    draw = Draw(layers=layers, depth=(3, 3), width=(5, 5), samples=(4, 4), gain=(1, 1))
    return draw.problem(number, np.random.default_rng(number), dtype).problem


def answered(judge, hidden, problem, steps=3):
    """An answer at these hidden activities with a true account: it says that it has not arrived."""
    activities = [problem.x, *hidden, problem.y]
    residuals = judge.sample_residuals(activities)
    start = feedforward(judge.network, problem.x)
    energies = layered_energies(judge.network, activities)
    begun = layered_energies(judge.network, [*start[:-1], problem.y])
    return InferenceResult(
        activities=activities,
        energies=energies,
        residual=np.array(np.linalg.norm(residuals) / judge.start),
        steps=steps,
        converged=False,
        passes=None,
        sample_residuals=residuals / judge.starts,
        path=np.linspace(begun, energies, steps + 1),
    )


def statuses(judge, problem, engine, relaxed, asked):
    found = verdicts(judge, engine, relaxed, asked)
    return {check.name.partition(": ")[2]: check.status for check in found}


def between(problem, part):
    """Hidden activities that are this part of the way to the equilibrium of a linear network."""
    start = feedforward(problem.layered, problem.x)[1:-1]
    end = Subject(TorchBackend("cpu", "float64"), problem).infer(ExactInference()).activities[1:-1]
    return [a + part * (b - a) for a, b in zip(start, end, strict=True)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("engine", ["gradient", "ode", "gauss_newton", "error"])
def test_an_answer_half_way_fails_whether_it_says_so_or_lies(engine, dtype):
    problem = problem_of("linear", 5, dtype)
    judge = InferenceJudge(problem, dtype)
    asked = ask_for(engine, judge)
    assert asked.must_converge
    honest = answered(judge, between(problem, 0.5), problem)
    found = statuses(judge, problem, engine, honest, asked)
    assert found[BUDGET] == "failed"
    assert found["reported residual"] == found["converged as reported"] == "passed"
    lying = replace(
        honest,
        converged=True,
        residual=honest.residual * 0,
        sample_residuals=honest.sample_residuals * 0,
    )
    found = statuses(judge, problem, engine, lying, asked)
    assert found[BUDGET] == found["reported residual"] == "failed"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("times", "status"), [(0.5, "undecided"), (4.0, "failed")])
def test_gauss_newton_is_undecided_only_where_rounding_hides_what_is_left(times, status, dtype):
    problem = problem_of("linear", 5, dtype)
    judge = InferenceJudge(problem, dtype)
    # What is left of the energy goes with the square of the way.
    least, loss = judge.energy(answered(judge, between(problem, 1.0), problem)), judge.loss
    near = answered(judge, between(problem, 1.0), problem)
    hidden = sum(judge.rounding(near).energies) * judge.samples**0.5
    part = 1 - np.sqrt(times * 2 * hidden / (loss - least))
    relaxed = answered(judge, between(problem, part), problem)
    settings = GaussNewtonInference(residual=1e-8, max_steps=50, record=True)
    found = statuses(judge, problem, "gauss_newton", relaxed, Asked(settings, must_converge=True))
    assert found[BUDGET] == status


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("engine", [GradientInference, ErrorInference])
@pytest.mark.parametrize(("step", "status"), [(1e-3, "failed"), (100.0, "undecided")])
def test_descent_that_diverged_fails_where_its_step_leads_down_and_nothing_else_is_judged(
    step, status, engine, dtype
):
    problem = problem_of("linear", 5, dtype)
    judge = InferenceJudge(problem, dtype)
    far = [1e7 * z for z in between(problem, 0.5)]
    asked = Asked(engine(step=step, max_steps=20), must_converge=True)
    [check] = verdicts(judge, "descent", answered(judge, far, problem, 20), asked)
    assert (check.name, check.status) == ("descent: finite energy", status)
    assert check.message.startswith("descent: inference diverged: after 20 steps the energy is ")
    assert f"steps of {step:g}" in check.message
    assert ("ask for a smaller step" in check.message) == (status == "undecided")


@pytest.mark.parametrize("engine", [GradientInference, ErrorInference, GaussNewtonInference])
@pytest.mark.parametrize("part", ["energies", "residual", "sample_residuals", "path"])
def test_an_answer_that_is_not_finite_fails_wherever_descent_has_led(part, engine):
    problem = problem_of("linear", 5, "float64")
    judge = InferenceJudge(problem, "float64")
    honest = answered(judge, between(problem, 0.5), problem, 20)
    broken = replace(honest, **{part: getattr(honest, part) * np.nan})
    asked = Asked(engine(max_steps=20), must_converge=True)
    [check] = verdicts(judge, "descent", broken, asked)
    assert (check.name, check.status) == ("descent: finite energy", "failed")
    assert ("energy is nan" if part == "energies" else "an answer is not finite") in check.message


def test_far_from_equilibrium_energies_and_gradients_round_as_they_do_there():
    """Theorem 1's own bounds are those of its equilibrium, where numbers are far smaller."""
    problem = problem_of("linear", 5, "float32")
    judge = InferenceJudge(problem, "float32")
    subject = Subject(TorchBackend("cpu", "float32"), problem)
    hidden = rounded([300 * z for z in between(problem, 0.5)], "float32")
    answers = subject.evaluate([problem.x, *hidden, problem.y])
    far = replace(answered(judge, hidden, problem), energies=answers.energies)
    theorem = TheoremJudge(problem, OdeInference(), "float32")
    found = {check.name: check.status for check in theorem.checks(far, answers)}
    assert found["energy of each layer"] == found["local gradients"] == "passed"
    assert found["energy at equilibrium"] == "failed"


@pytest.mark.parametrize(("halve", "status"), [(True, "failed"), (False, "undecided")])
def test_steps_that_should_have_been_halved_are_no_excuse(halve, status):
    problem = problem_of("linear", 5, "float64")
    judge = InferenceJudge(problem, "float64")
    far = answered(judge, [1e7 * z for z in between(problem, 0.5)], problem, 60)
    settings = GradientInference(step=1.5, halve=halve, max_steps=60)
    [check] = verdicts(judge, "descent", far, Asked(settings, must_converge=True))
    assert (check.name, check.status) == ("descent: finite energy", status)


def uphill(judge, problem, rise):
    """Hidden activities from which the energy is this much above the loss."""
    start = feedforward(judge.network, problem.x)
    slopes = activity_residuals(judge.network, [*start[:-1], problem.y])

    def at(way):
        return [z + way * slope for z, slope in zip(start[1:-1], slopes, strict=True)]

    low, high = 0.0, 10.0
    for _ in range(100):
        middle = (low + high) / 2
        energy = layered_energies(judge.network, [problem.x, *at(middle), problem.y]).sum()
        low, high = (low, middle) if energy > judge.loss + rise else (middle, high)
    return at(low)


@pytest.mark.parametrize(
    ("engine", "times", "status"),
    [
        (OdeInference(residual=1e-2), 0.9, "passed"),
        (OdeInference(residual=1e-2), 1.1, "failed"),
        (OdeInference(residual=1e-4), 1.1, "failed"),
        (GradientInference(residual=1e-2), 1e-6, "failed"),
        (GaussNewtonInference(residual=1e-2), 1e-6, "failed"),
        (ErrorInference(residual=1e-2), 10.0, None),
    ],
)
def test_at_kinks_a_flow_may_rise_by_its_residual_along_the_first_force_and_no_more(
    engine, times, status
):
    problem = problem_of("nonlinear", 2, "float64")
    assert problem.network.activation in ("relu", "leaky_relu")
    judge = InferenceJudge(problem, "float64")
    allowed = engine.residual * judge.start**2 / judge.samples
    relaxed = answered(judge, uphill(judge, problem, times * allowed), problem)
    found = statuses(judge, problem, engine.engine, relaxed, Asked(engine, must_converge=False))
    assert found.get("energy ≤ loss") == status
