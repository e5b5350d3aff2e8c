"""Columns of a report, recomputed once each by the theory's own definitions."""

from unittest.mock import Mock

import numpy as np
import pytest

from pcbench.backends.torch import TorchBackend
from pcbench.case import Columns, Context
from pcbench.cases.inference_cost.case import early_findings
from pcbench.cases.origin_escape import run as _escape_run
from pcbench.cases.origin_escape.parameters import Parameters
from pcbench.contract import ExactInference, GradientInference, Trainer
from pcbench.judges.answers import Subject
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.training.curves import Batches, Course
from pcbench.networks import NetworkSpec
from pcbench.theory.nonlinear.layered import energy_gradients, feedforward
from pcbench.theory.nonlinear.second_order import relaxed_activities

SEEDS, CLASSES = 3, 4
BACKEND = TorchBackend("cpu", "float64")


@pytest.fixture
def problem():
    rng = np.random.default_rng(3)
    spec = NetworkSpec((5, 6, CLASSES), "identity", "post", False)
    weights = [0.4 * rng.standard_normal(shape) for shape in spec.shapes]
    classes = np.eye(CLASSES)[rng.integers(CLASSES, size=20)]
    return Problem(spec, weights, rng.standard_normal((20, 5)), classes, [])


def test_test_losses_and_accuracies_are_those_of_their_definitions(problem):
    seeds = [np.stack([w, np.abs(w), w[::-1]]) for w in problem.weights]
    lent, asked = Mock(spec=Context, backend=BACKEND), Mock(spec=Parameters, seeds=SEEDS)
    samples = problem.x, problem.y
    start = _escape_run.Start(lent, asked, problem, seeds, None, samples, samples)
    model, tests = BACKEND.build(problem.network, seeds), _escape_run.Tests()
    course = Course(SEEDS, 2)
    course.losses = np.zeros((7, SEEDS))
    _escape_run.add_tests(start, Mock(spec=Trainer, model=model), course, tests)
    for seed in range(SEEDS):
        outputs = problem.x
        for weights in seeds:
            outputs = outputs @ weights[seed].T
        halves = [0.5 * sum((o - t) ** 2) for o, t in zip(outputs, problem.y, strict=True)]
        assert tests.losses[0][seed] == pytest.approx(sum(halves) / len(halves), rel=1e-12)
        likely = [max(o) in o[t == 1] for o, t in zip(outputs, problem.y, strict=True)]
        assert tests.accuracies[0][seed] == sum(likely) / len(likely)
    assert len(set(tests.accuracies[0])) > 1
    assert tests.steps == [7]


def test_every_epoch_sees_every_sample_once_in_an_order_of_its_own():
    batches = Batches(12, 4, SEEDS, lambda epoch: np.random.default_rng(epoch))
    epochs = batches(0, 9).reshape(3, 3, SEEDS, 4).swapaxes(1, 2).reshape(3, SEEDS, 12)
    assert (np.sort(epochs, axis=-1) == np.arange(12)).all()
    orders = {tuple(order) for epoch in epochs for order in epoch}
    assert len(orders) == 3 * SEEDS


def test_the_angle_of_an_early_gradient_is_in_degrees_and_its_norm_a_ratio(problem):
    network, step, stops = problem.layered, 0.1, [1, 3, 30]
    subject = Subject(BACKEND, problem)
    settled = subject.infer(ExactInference())
    *_, columns = early_findings(
        subject,
        InferenceJudge(problem, "float64"),
        "gradient",
        GradientInference(step=step, max_steps=1),
        stops,
        settled,
    )
    assert isinstance(columns, Columns)
    exact = gradient(network, relaxed_activities(network, problem.x, problem.y))
    z, taken, angles, norms = feedforward(network, problem.x), 0, [], []
    z = [*z[:-1], problem.y]
    first, last = problem.weights
    for stop in stops:
        while taken < stop:
            # z_1 ← z_1 - η (e_1 - W_2ᵀ e_2), of theory.md 2.3.
            e_1, e_2 = z[1] - z[0] @ first.T, z[2] - z[1] @ last.T
            z, taken = [z[0], z[1] - step * (e_1 - e_2 @ last), z[2]], taken + 1
        early = gradient(network, z)
        lengths = np.sqrt(early @ early), np.sqrt(exact @ exact)
        sine = np.sqrt(1 - (early @ exact / lengths[0] / lengths[1]) ** 2)
        angles.append(180 / np.pi * np.arctan2(sine, early @ exact / lengths[0] / lengths[1]))
        norms.append(lengths[0] / lengths[1])
    told = columns.columns
    assert told["angle of the weight gradient in degrees"] == pytest.approx(angles, rel=1e-5)
    assert told["norm of the weight gradient, relative"] == pytest.approx(norms, rel=1e-8)
    assert max(angles) > 1


def gradient(network, activities):
    """``∂𝓕/∂W``, all layers in one vector."""
    weights, _ = energy_gradients(network, activities)
    return np.concatenate([weight.ravel() for weight in weights])
