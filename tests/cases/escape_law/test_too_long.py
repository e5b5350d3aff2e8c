"""Steps that are too long: a run that diverges in theory, too, is told from one that stays."""

import pytest

from pcbench.cases.escape_law.case import EscapeLaw
from pcbench.registry import CASES
from tests.cases.escape_law.test_case import PROBLEMS, TANH, TOY, failed, verdict
from tests.cases.faulty.learners import LEARNER_FAULTS
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("without_shapes")


@pytest.fixture(scope="module", autouse=True)
def _plugged_in():
    CASES.add("escape_law", EscapeLaw)
    with plugged_in(LEARNER_FAULTS):
        yield


def tanh(rate, **scales):
    return {
        **TANH,
        "data": {**TOY, "samples": 4},
        "training": {"max_steps": 60, "learning_rate": rate},
        "scales": {"further": 1, "count": 4, **scales},
    }


PROBLEMS |= {
    "tanh at 50": tanh(50),
    "tanh at 1e+06": tanh(1e6),
    "tanh at 0.1": tanh(0.1, largest=1.0),
}


@pytest.mark.parametrize("rate", ["50", "1e+06"])
def test_training_that_diverges_in_theory_too_is_undecided_and_no_law_is_judged(rate):
    result = verdict("torch", f"tanh at {rate}")
    assert result.status == "undecided", result.message
    assert f"Training diverged at step 1 at learning rate {rate}" in result.message
    assert not any("power" in check.name or "e-fold" in check.name for check in result.checks)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("AscentByPredictiveCoding", "PC: runs whose energy fell within the budget"),
        ("AscentByBackpropagation", "BP: steps until the loss falls"),
        ("StandsStill", "PC: runs whose energy fell within the budget"),
        ("StandsStill", "BP: steps until the loss falls"),
    ],
)
def test_a_backend_that_alone_diverges_or_stands_still_fails(fault, check):
    assert check in failed(fault, "tanh at 0.1")


def test_standing_still_where_theory_diverges_in_some_runs_fails():
    assert "PC: runs whose energy fell within the budget" in failed("StandsStill", "tanh at 50")
