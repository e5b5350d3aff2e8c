"""No false alarms: a correct backend passes, whatever the seed."""

from collections import Counter
from dataclasses import replace

import pytest

from pcbench.backends.numpy import NumpyBackend
from pcbench.backends.torch import TorchBackend
from pcbench.cases.conformance.inference.engines import Asked, of_all
from pcbench.contract import ErrorInference
from pcbench.runner import run_suites
from tests.cases.conformance.questions import ask
from tests.helpers.toy_suites import load_suite

pytestmark = pytest.mark.usefixtures("without_shapes")

BACKENDS = [(TorchBackend, "float64"), (TorchBackend, "float32"), (NumpyBackend, "float64")]
QUESTIONS = ["evaluation", "nonlinear", "masked", "robustness"]
# Two hundred seeds in pieces, which processes share.
PIECES = [range(start, start + 20) for start in range(0, 200, 20)]


@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_few_seeds_raise_no_alarm(backend, question, dtype):
    results = {seed: ask(backend, question, dtype, seed=seed) for seed in range(1, 4)}
    alarms = {seed: one.message for seed, one in results.items() if one.status != "passed"}
    assert alarms == {}


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(2), marks=pytest.mark.slow),
        *(pytest.param(piece, marks=pytest.mark.release) for piece in PIECES),
    ],
    ids=str,
)
@pytest.mark.parametrize(("backend", "only"), [("torch", None), ("numpy", "dtype=float64")])
def test_no_seed_raises_an_alarm(backend, only, seeds):
    """Ask every case of the suite about one network a seed, each time about another."""
    suite = load_suite("conformance", select=only, overrides=[f"backend={backend}"])
    alarms, fates = {}, Counter()
    for seed in seeds:
        chosen = [
            case.parameters.model_copy(update={"only": 1 + seed % case.parameters.networks})
            for case in suite.cases
        ]
        cases = tuple(
            replace(case, seed=seed, parameters=parameters)
            for case, parameters in zip(suite.cases, chosen, strict=True)
        )
        report = run_suites([replace(suite, cases=cases)])
        fates.update(case.status for case in report.cases)
        alarms |= {
            f"{case.id}, seed {seed}": case.message
            for case in report.cases
            if case.status not in ("passed", "undecided")
        }
    assert alarms == {}
    assert fates["undecided"] <= fates["passed"] / 100  # near a fold, say


# Once an alarm each: a residual that left rounding out, one below what float32 leaves, steps in the
# errors across kinks.
@pytest.mark.parametrize(
    ("seed", "select"),
    [
        (9, "precision-inference and float32 and not nonlinear"),
        (5, "precision-inference and float32 and not nonlinear"),
        (57, "convolutions-inference and float64"),
        (301, "precision-replicas and linear and float64 and not nonlinear"),
    ],
)
def test_what_was_an_alarm_is_none_any_more(seed, select):
    suite = load_suite("conformance", select=select)
    report = run_suites([replace(suite, cases=tuple(replace(c, seed=seed) for c in suite.cases))])
    assert [(case.status, case.message) for case in report.cases] == [("passed", "")]


@pytest.mark.parametrize(
    ("seed", "select", "status", "message"),
    [
        # Beyond the fold Newton's method found another equilibrium, far away.
        (48, "precision-hessian and float32", "undecided", "the equilibrium ends at a fold"),
        # Slopes round with the targets, which may be larger than the activities.
        (64, "precision-settings and dtype=float32", "passed", ""),
    ],
)
def test_what_was_an_alarm_in_the_first_network(seed, select, status, message):
    suite = load_suite("conformance", select=select)
    parameters = suite.cases[0].parameters.model_copy(update={"only": 1})
    cases = (replace(suite.cases[0], seed=seed, parameters=parameters),)
    [case] = run_suites([replace(suite, cases=cases)]).cases
    assert case.status == status, case.message
    assert message in case.message


def test_replicas_are_asked_for_what_each_of_them_can_give():
    """Another alarm: a step that fitted the first of them alone, and let the second diverge."""
    quick = ErrorInference(step=0.5, residual=1e-6, max_steps=10)
    slow = ErrorInference(step=0.1, residual=1e-3, max_steps=20)
    asked = of_all([Asked(quick, must_converge=True), Asked(slow, must_converge=True)])
    assert asked.settings == ErrorInference(step=0.1, residual=1e-3, max_steps=50)
    assert asked.must_converge
