"""Laws of escape: honest learners pass, and every check is failed by some faulty one."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from pcbench.backends.torch import TorchBackend
from pcbench.cases.escape_law.case import EscapeLaw, Parameters
from pcbench.registry import CASES
from pcbench.runner import run_suites
from pcbench.suite import PlannedCase, Suite
from tests.cases.faulty.learners import LEARNER_FAULTS
from tests.helpers.plugged_in import plugged_in

TOY = {"name": "toy_gaussian", "samples": 16}
DEPTHS = {
    depth: {"data": TOY, "network": {"hidden_layers": depth, "width": 4}, **more}
    for depth, more in {
        1: {"training": {"max_steps": 2000}},
        2: {"training": {"max_steps": 2000}},
        3: {"training": {"max_steps": 20000}, "scales": {"further": 6}},
    }.items()
}
TANH = {
    "data": TOY,
    "network": {"hidden_layers": 2, "width": 4, "activation": "tanh"},
    "inference": {"engine": "gauss_newton", "residual": 1e-5, "max_steps": 50},
    "training": {"max_steps": 400},
    "scales": {"further": 6},
}
DEPTHS_NAMED = {f"H={depth}": problem for depth, problem in DEPTHS.items()}
PROBLEMS = {**DEPTHS_NAMED, "tanh": TANH}


class FallsAtOnce(TorchBackend):
    """Reports losses and energies of nothing, from the first update on."""

    def trainer(self, *question):
        hasty = super().trainer(*question)
        run = hasty.run

        def fallen(*arguments):
            record = run(*arguments)
            first = np.arange(len(record.losses))[:, None] == 0
            return replace(record, losses=record.losses * first, energies=record.energies * first)

        hasty.run = fallen
        return hasty


@pytest.fixture(scope="module", autouse=True)
def _plugged_in():
    CASES.add("escape_law", EscapeLaw)
    with plugged_in({**LEARNER_FAULTS, "FallsAtOnce": FallsAtOnce}):
        yield


@cache
def verdict(backend, problem, dtype="float64"):
    asked = PROBLEMS[problem]
    case = PlannedCase(
        id=problem,
        kind="escape_law",
        case=EscapeLaw,
        parameters=Parameters.model_validate(asked),
        seed=0,
        dtype=dtype,
        backend=backend,
        device="cpu",
    )
    suite = Suite(name="laws", description="", cases=(case,), path=Path("laws.yaml"))
    [result] = run_suites([suite]).cases
    return result


@pytest.mark.parametrize(
    "problem", ["H=1", "H=2", "tanh", pytest.param("H=3", marks=pytest.mark.slow)]
)
def test_honest_learners_pass(problem):
    result = verdict("torch", problem)
    assert (result.status, result.message) == ("passed", "")


def test_honest_learners_pass_in_single_precision():
    assert verdict("torch", "H=2", "float32").status == "passed"


@pytest.mark.slow
@pytest.mark.parametrize("fault", LEARNER_FAULTS)
def test_a_faulty_learner_fails(fault):
    result = verdict(fault, "H=2")
    assert result.status == "failed", result.message


def failed(fault, problem):
    return {check.name for check in verdict(fault, problem).checks if not check.passed}


def test_predictive_coding_that_is_backpropagation_shows_in_every_law_of_it():
    assert failed("PredictiveCodingIsBackpropagation", "H=2") >= {
        "PC: steps of the energy per e-fold of 1/σ",
        "PC: power of ln(1/σ)",
        "PC: power of 1/σ at the smallest scales",
    }


def test_backpropagation_that_is_predictive_coding_shows_in_its_law():
    local = "BP: power of 1/σ at the smallest scales"
    assert local in failed("BackpropagationInfers", "H=2")
    assert local in failed("BackpropagationInfers", "tanh")
    assert "BP: steps of the loss per e-fold of 1/σ" in failed("BackpropagationInfers", "H=1")


def test_a_step_of_twice_the_size_shows_in_every_slope():
    slopes = {check.name for check in verdict("torch", "H=1").checks if "per e-fold" in check.name}
    assert len(slopes) == 3
    assert failed("TwiceTheStep", "H=1") >= slopes


@pytest.mark.slow
def test_every_check_is_failed_by_some_fault():
    problems = [*DEPTHS_NAMED, "tanh"]
    made = {check.name for problem in problems for check in verdict("torch", problem).checks}
    caught = set()
    for problem, faults in {
        "H=1": LEARNER_FAULTS,
        "H=2": LEARNER_FAULTS,
        "H=3": ["BackpropagationInfers"],
        "tanh": [
            "AscentByBackpropagation",
            "AscentByPredictiveCoding",
            "BackpropagationInfers",
        ],
    }.items():
        for fault in faults:
            caught |= failed(fault, problem)
    assert made - caught == set()


def test_a_loss_that_falls_in_one_step_from_every_scale_fails():
    result = verdict("FallsAtOnce", "tanh")
    assert result.status == "failed", result.message
    for learner in ("BP", "PC"):
        assert f"{learner}: power of 1/σ at the smallest scales" in failed("FallsAtOnce", "tanh")


# Budgets and series


def small(**changes):
    return {**PROBLEMS["H=2"], **changes}


def test_scales_that_the_budget_does_not_reach_are_left_out_and_it_is_said():
    PROBLEMS["short"] = small(training={"max_steps": 150}, scales={"smallest": 0.002, "count": 9})
    result = verdict("torch", "short")
    [law] = [check for check in result.checks if check.name == "BP: power of 1/σ"]
    assert law.passed
    assert law.where.endswith("of 9 scales")


def test_a_budget_that_reaches_too_few_scales_is_a_reason_to_skip():
    PROBLEMS["none"] = small(training={"max_steps": 10})
    result = verdict("torch", "none")
    assert result.status == "skipped"
    assert "more steps (training.max_steps)" in result.message


def test_a_budget_too_short_for_one_learner_does_not_excuse_the_other():
    PROBLEMS["none"] = small(training={"max_steps": 10})
    result = verdict("AscentByPredictiveCoding", "none")
    assert result.status == "failed"
    assert "PC: steps until the loss falls" in failed("AscentByPredictiveCoding", "none")


def test_an_escape_that_takes_more_than_one_direction_is_refused():
    data = {"name": "toy_gaussian", "dimension": 3, "target": "mixed", "samples": 16}
    PROBLEMS["mixed"] = small(data=data, fraction=0.7)
    result = verdict("torch", "mixed")
    assert result.status == "skipped"
    assert "the first direction to leave" in result.message


def test_times_of_every_seed_are_in_the_series():
    series = verdict("torch", "H=2").series
    assert set(series) == {
        "BP: escape of the loss",
        "PC: escape of the loss",
        "PC: escape of the energy",
    }
    columns = series["PC: escape of the loss"]
    assert len(columns) == 1 + 5
    assert columns["scale"][6] == pytest.approx(0.01)
    for seed in range(1, 6):
        assert np.all(np.diff(columns[f"steps, seed {seed}"]) >= 0)


# Mistakes in a suite


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scales": {"largest": 0.2, "smallest": 0.01}}, "make smallest at most 0.0067"),
        ({"scales": {"count": 3}}, "greater than or equal to 4"),
        ({"seeds": 4}, "greater than or equal to 5"),
        (
            {"network": {"hidden_layers": 2, "width": 4, "initialisation": "lecun_normal"}},
            "leave initialisation to scales",
        ),
        ({"network": {"hidden_layers": 0, "width": 4}}, "one hidden layer or more"),
    ],
)
def test_a_mistake_is_a_sentence(changes, message):
    with pytest.raises(ValidationError, match=message):
        Parameters.model_validate(small(**changes))
