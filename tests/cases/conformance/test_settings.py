"""Conformance holds engines to their settings and records, long runs to their history, replicas to
themselves alone; and fails whoever is off in one of these alone.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

from pcbench.audit import FaultyTrainer
from pcbench.audit.catalogue import put
from pcbench.audit.wrappers import FaultyModel
from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.torch import TorchBackend
from pcbench.contract import BackendUnavailableError, Capability
from pcbench.theory.nonlinear.inference_steps import Rule, decided
from pcbench.theory.nonlinear.layered import Layered
from tests.cases.conformance.questions import ask, failed
from tests.cases.faulty.catalogued import CATALOGUE, as_backend
from tests.cases.faulty.engines import WithInference

pytestmark = pytest.mark.usefixtures("without_shapes")

ACTIVITIES = "ode: activities at the time given"
REUSE = "gauss_newton: how far the step after"
# The question, the check that is there for the mistake, and the mistake.
SETTINGS = {
    "NeverHalves": "gradient: halving: activities",
    "HalvesForEver": "gradient: smallest step: count",
    "ErrorStepHalved": "error: steps: activities",
    "OneMethod": "ode: steps by method",
    "RelativeToleranceIgnored": "ode: steps by relative tolerance",
    "AbsoluteToleranceIgnored": ACTIVITIES,
    "HalfTheTime": ACTIVITIES,
    "LinearisesAsItLikes": f"{REUSE} 1 with a new linearisation is from that with the old one",
    "LinearisesEarlier": "gauss_newton: steps of a linearisation that serves 2",
    "HalfAsFarAtKinks": "gradient: steps: activities",
    "LayersInReverse": "gauss_newton: record, layer by layer",
    "AllInTheOutput": "gradient: record, layer by layer",
    "RecordsBeforeTheStep": "error: record, layer by layer",
    "PassesAreSteps": "gradient: passes",
}
# Of what a linear network does not show.
OTHERWISE = {
    "LinearisesAsItLikes": "settings-tanh",
    "LinearisesEarlier": "settings-tanh",
    "HalfAsFarAtKinks": "settings-kinks",
}
COURSE = {
    "EpochsAlike": "steps taken in one run (BP, sgd)",
    "MomentsLostBetweenRuns": "steps taken in one run (BP, adam)",
    "RateDecays": "parameters after a step (BP, sgd)",
    "StopsLearning": "parameters after a step (BP, sgd)",
    "WarmUp": "parameters after a step (BP, sgd)",
    "BiasCorrectionFrozen": "parameters after a step (BP, adam)",
    "MomentsReset": "parameters after a step (BP, adam)",
}


class Learner(TorchBackend):
    """Trains by backpropagation, and knows no engine: optimisers are what tells."""

    capabilities = frozenset({Capability.TRAINING})


def learning_with(trainer):
    """Return a backend whose models are trained by this trainer."""

    class Backend(Learner):
        def __init__(self, device="cpu", dtype="float64"):
            super().__init__(device, dtype)
            self.wrapped = put(trainer, Learner(device, dtype))

        def build(self, network, parameters):
            return self.wrapped.build(network, parameters)

        def trainer(self, *question):
            return self.wrapped.trainer(*question)

    return Backend


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("question", ["settings", "settings-tanh", "settings-kinks"])
def test_a_correct_backend_keeps_to_its_settings(question, dtype):
    result = ask(TorchBackend, question, dtype)
    assert (result.status, result.message) == ("passed", "")
    assert {"gradient", "error", "gauss_newton"} <= {c.name.split(":")[0] for c in result.checks}


def test_so_does_the_reference_without_the_method_that_it_lacks():
    result = ask(NumpyBackend, "settings")
    assert (result.status, result.message) == ("passed", "")
    assert "ode: steps by method" in {check.name for check in result.checks}


def test_without_an_iterative_engine_there_are_no_settings_to_ask_about():
    result = ask(Learner, "settings")
    assert result.status == "skipped"
    assert "no iterative engine" in result.message


class Refuses(CATALOGUE["ErrorStepHalved"]):
    """Refuses a halved step, as JPC and PCX do, and errs in what is asked of another engine."""

    def infer(self, x, y, settings, precision=None):
        if getattr(settings, "halve", False):
            raise BackendUnavailableError("A step stays as it is; leave halve out")
        return super().infer(x, y, settings, precision)


class RefusesAll(FaultyModel):
    """Refuses every engine that it is said to have."""

    def infer(self, x, y, settings, precision=None):
        raise BackendUnavailableError("Nothing is inferred on Sundays")


def test_a_setting_that_is_refused_is_left_out_and_the_rest_is_asked():
    result = ask(as_backend(Refuses), "settings")
    asked = {check.name for check in result.checks}
    assert {"gradient: steps: activities", "gradient: residual: residual"} <= asked
    assert "gradient: halving: activities" not in asked
    told = {"gradient: halving", "gradient: smallest step"}
    assert {result.omitted[what] for what in told} == {"A step stays as it is; leave halve out"}
    assert {name.partition(":")[0] for name in failed(result)} == {"error"}


def test_without_a_setting_that_is_not_refused_there_is_nothing_to_judge():
    result = ask(as_backend(RefusesAll), "settings")
    assert result.status == "skipped"
    assert "Nothing is inferred on Sundays" in result.message


@pytest.mark.parametrize("fault", SETTINGS)
def test_a_setting_that_is_misread_or_a_false_record_fails(fault):
    question = OTHERWISE.get(fault, "settings")
    assert SETTINGS[fault] in failed(ask(as_backend(fault), question))


def test_every_setting_that_is_misread_at_kinks_alone_fails():
    mistaken = as_backend("HalfAsFarAtKinks")
    assert failed(ask(mistaken, "settings-tanh")) == set()
    assert {
        "gradient: halving: activities",
        "gradient: residual: activities",
        "error: steps: activities",
        ACTIVITIES,
    } <= failed(ask(mistaken, "settings-kinks"))


def test_where_samples_come_near_to_a_kink_steps_are_not_asked_for():
    network = Layered([np.eye(2), np.eye(2)], None, "relu", "post")
    x, y = np.array([[1.0, 1e-9]]), np.ones((1, 2))
    rule = Rule(0.1, 3)
    assert decided(network, x, y, rule, 2.0**-53).budget < 1
    assert decided(network, x + 0.1, y, rule, 2.0**-53).budget == 3


class DropsTheLastRow(WithInference):
    """The record ends a step too early."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        return reached if reached.path is None else replace(reached, path=reached.path[:-1])


@pytest.mark.parametrize(
    ("question", "check", "sentence"),
    [
        (
            "settings",
            "gradient: steps: record of every step",
            r"with shape \(6, \d\) where \(7, \d\) is due \(rows and layers of the record",
        ),
        (
            "inference",
            "gauss_newton: ends of the path",
            r": \d rows of the path should equal \d \(",
        ),
    ],
)
def test_a_record_of_too_few_rows_says_how_many_are_due_and_how_many_came(
    question, check, sentence
):
    result = ask(DropsTheLastRow, question)
    [found] = [each for each in result.checks if each.name == check]
    assert found.status == "failed"
    assert re.search(sentence, found.explanation)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_trainer_without_a_mistake_completes_the_course(dtype):
    result = ask(learning_with(FaultyTrainer), "course", dtype)
    assert (result.status, result.message) == ("passed", "")


@pytest.mark.slow
def test_every_engine_and_optimiser_completes_the_course():
    result = ask(TorchBackend, "course")
    assert (result.status, result.message) == ("passed", "")
    learners = {check.name.rpartition("(")[2] for check in result.checks}
    assert len(learners) == 12


@pytest.mark.slow
@pytest.mark.parametrize("fault", COURSE)
def test_a_trainer_that_changes_its_ways_fails_the_course_and_not_its_first_steps(fault):
    backend = learning_with(CATALOGUE[fault])
    assert COURSE[fault] in failed(ask(backend, "course"))
    first = failed(ask(backend, "training", networks=1))
    assert first == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("MovesOnWithTheOthers", "gradient: residual: activities"),
        ("RecordsOfNeighbours", "error: residual: record of every step"),
    ],
)
def test_replicas_that_do_not_end_as_alone_fail(fault, check):
    assert check in failed(ask(as_backend(fault), "replicas"))
