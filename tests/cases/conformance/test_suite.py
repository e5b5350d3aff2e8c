"""Conformance passes a correct backend, fails every faulty one, and says where."""

from functools import cache

import pytest
from pydantic import ValidationError

from pcbench.backends.torch import TorchBackend
from pcbench.cases.conformance.case import Parameters
from pcbench.contract import BackendUnavailableError
from pcbench.suite.load import shipped_suites
from tests.cases.conformance.faulty import FAULTS, Less
from tests.cases.conformance.questions import QUESTIONS, ask, failed, kind
from tests.cases.faulty.engines import ENGINE_FAULTS
from tests.cases.faulty.hessians import HESSIAN_FAULTS
from tests.cases.faulty.trainers import FAULTS as TRAINERS
from tests.cases.faulty.trainers import training_with

pytestmark = pytest.mark.usefixtures("without_shapes")

# Inference has many more faults than it takes to fail its checks: those that do, and no others.
ENGINES = [
    "WrongTranspose", "RaisesASample", "SquaredResidual", "MeanResidual",
    "RelaxesItsInput", "ForgetsTheOutput", "NeverConverged", "InventedPath",
    "EndsAboveTheLoss", "CountsOn", "OneSampleAColumn",
]  # fmt: skip
HESSIANS = [
    "NotSymmetric", "OneSign", "NoSecondDerivative", "ShiftedUnlessTwo", "UnrolledOneStepTooFew",
    "SolvedToTenPercent",
]  # fmt: skip
TRAINING = ["training", "training-by-steps", "masked-training"]


@cache
def answered(question, dtype):
    return ask(TorchBackend, question, dtype)


@cache
def failures():
    """Names of checks, by question, that some fault fails."""
    found = {question: set() for question in QUESTIONS}
    for backend, question, dtype, _ in FAULTS.values():
        found[question] |= failed(ask(backend, question, dtype))
    for name in ENGINES:
        for question in ("inference", "tanh"):
            found["inference"] |= failed(ask(ENGINE_FAULTS[name], question))
    for name in HESSIANS:
        for question in ("hessian", "unrolled"):
            found["hessian"] |= failed(ask(HESSIAN_FAULTS[name], question))
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_correct_backend_passes(question, dtype):
    result = answered(question, dtype)
    assert (result.status, result.message) == ("passed", "")


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_backend_fails_the_check_that_is_there_for_it(name):
    backend, question, dtype, check = FAULTS[name]
    result = ask(backend, question, dtype)
    assert check in failed(result), result.message
    assert result.status == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_a_faulty_engine_fails(name):
    assert "failed" in {ask(ENGINE_FAULTS[name], q).status for q in ("inference", "tanh")}


@pytest.mark.slow
@pytest.mark.parametrize("name", HESSIANS)
def test_a_faulty_hessian_fails(name):
    assert "failed" in {ask(HESSIAN_FAULTS[name], q).status for q in ("hessian", "unrolled")}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINERS)
def test_a_faulty_trainer_fails(name):
    trainer, check = TRAINERS[name]
    backend = asked_to_train_with(trainer)
    names = set().union(*(failed(ask(backend, question)) for question in TRAINING))
    assert check in {kind(one) for one in names}


def asked_to_train_with(trainer):
    """Return a PyTorch backend whose models are trained by this trainer."""

    class Backend(TorchBackend):
        def __init__(self, device="cpu", dtype="float64"):
            super().__init__(device, dtype)
            self.wrapped = training_with(trainer)(dtype)

        def build(self, network, parameters):
            return self.wrapped.build(network, parameters)

        def trainer(self, *question):
            return self.wrapped.trainer(*question)

    return Backend


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_check_is_failed_by_some_fault(question):
    if question in TRAINING:
        made = {kind(check.name) for check in answered(question, "float64").checks}
        assert made <= {check for _, check in TRAINERS.values()} | {"parameters after a step"}
        return
    told = {kind(name) for names in failures().values() for name in names}
    for dtype in ("float64", "float32"):
        made = {kind(check.name) for check in answered(question, dtype).checks}
        assert made - told == set()


def test_a_failure_names_the_smallest_network_and_how_to_ask_of_it_alone():
    mistaken, drawn = FAULTS["LossAveragedOverOutputs"][0], {"width": (2, 9), "depth": (1, 3)}
    result = ask(mistaken, "evaluation", networks=5, draw=drawn)
    [check] = [check for check in result.checks if check.name == "loss"]
    number = int(check.where.partition("network ")[2].partition(":")[0])
    assert "5 of 5 networks fail" in check.where
    alone = ask(mistaken, "evaluation", only=number, draw=drawn)
    [again] = [one for one in alone.checks if one.name == "loss"]
    assert (again.observed, again.expected) == (check.observed, check.expected)
    assert number == 1  # the least of all


def test_what_a_backend_does_not_declare_is_skipped_by_name():
    skipped = {q: ask(Less, q) for q in QUESTIONS}
    assert {q for q, result in skipped.items() if result.status == "passed"} == {
        "evaluation",
        "conduct",
        "robustness",
    }
    assert "does not offer replicas" in skipped["replicas"].message
    assert "no engine of inference" in skipped["inference"].message


class Refuses(TorchBackend):
    """Declares what it cannot do in networks of three layers."""

    def build(self, network, parameters):
        if network.n_layers == 3:
            raise BackendUnavailableError("three layers are too many")
        return super().build(network, parameters)


class Breaks(TorchBackend):
    """Breaks in networks of three layers."""

    def build(self, network, parameters):
        if network.n_layers == 3:
            raise ZeroDivisionError("three")
        return super().build(network, parameters)


def test_networks_that_are_refused_are_left_out_and_the_others_are_judged():
    result = ask(Refuses, "evaluation", networks=3, draw={"depth": (1, 3), "width": (1, 4)})
    assert result.status == "passed"
    assert result.checks
    [(what, reason)] = result.omitted.items()
    assert what == "1 of 3 networks"
    assert "three layers are too many" in reason


def test_what_conformance_does_not_ask_is_said_with_the_suite_that_does():
    result = ask(TorchBackend, "training", networks=1)
    [(what, suites)] = result.omitted.items()
    assert "leaves a saddle" in what
    for name in ("origin_escape", "matrix_completion", "escape_law"):
        assert name in suites
        assert name in shipped_suites()


def test_where_every_network_is_refused_the_case_is_skipped_with_the_reason():
    result = ask(Refuses, "evaluation", draw={"depth": (3, 3), "width": (1, 4)})
    assert result.status == "skipped"
    assert "no network could be asked about: three layers are too many" in result.message


def test_a_backend_that_breaks_is_told_with_the_network_and_what_was_found_stays():
    result = ask(Breaks, "evaluation", draw={"depth": (1, 3), "width": (1, 4)})
    assert result.status == "errored"
    assert "ZeroDivisionError: three (network 2: " in result.message
    assert result.checks


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"question": "replicas", "engine": "exact"}, "leave 'engine' out"),
        (
            {"question": "inference", "engine": "exact", "draw": {"layers": "smooth"}},
            "write draw.layers: linear",
        ),
        ({"question": "hessian", "draw": {"layers": "nonlinear"}}, "linear or smooth"),
        ({"question": "unrolled_hessian", "draw": {"observed": 0.5}}, "leave draw.observed out"),
        ({"question": "robustness", "draw": {"layers": "convolutional"}}, "linear, smooth or"),
        ({"question": "evaluation", "draw": {"depth": [3, 1]}}, "from least to most, not 3 to 1"),
        ({"question": "evaluation", "draw": {"width": [0, 1]}}, "greater than 0"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_remedy(written, words):
    with pytest.raises(ValidationError, match=words):
        Parameters.model_validate(written)


def test_the_same_seed_poses_the_same_networks_in_either_dtype():
    double, single = (answered("evaluation", dtype) for dtype in ("float64", "float32"))
    named = [
        {one.where.partition("network ")[2] for one in result.checks} for result in (double, single)
    ]
    assert named[0] & named[1]
