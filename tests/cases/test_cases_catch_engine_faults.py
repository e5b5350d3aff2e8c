"""The shipped suites of inference pass a correct backend, and fail every faulty one."""

from functools import cache

import pytest

from pcbench.runner import run_suites
from pcbench.suite import load_suites
from tests.cases.faulty.engines import ENGINE_FAULTS, SLIGHT_FAULTS, SLOW_FAULTS
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("timed_twice", "without_shapes")

CASES = (
    "(smooth and tanh and convention=post and bias=true) or masked[activation=identity] "
    "or (rectifiers and activation=relu and convention=post)"
)
# Loose residuals and small budgets: a faulty engine goes on to the end of its own.
SMALLER = [
    "engines.gradient.max_steps=300",
    "engines.gradient.residual=0.1",
    "engines.error-based.max_steps=100",
    "engines.error-based.residual=0.1",
    "engines.gauss-newton.max_steps=20",
    "engines.ode.max_time=2",
    "engines.ode.residual=0.9",
    "data.samples=4",
    "directions=1",
]


@cache
def verdict(backend, dtype):
    chosen = [f"backend={backend}", f"dtype={dtype}", *SMALLER]
    return run_suites(load_suites(["nonlinear"], overrides=chosen, select=CASES))


@pytest.fixture(scope="module", autouse=True)
def _faulty_backends_registered():
    with plugged_in(ENGINE_FAULTS | SLOW_FAULTS | SLIGHT_FAULTS):
        yield


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_correct_backend_passes(dtype):
    report = verdict("torch", dtype)
    assert report.summary.passed == len(report.cases) > 0


@pytest.mark.parametrize("name", ENGINE_FAULTS)
def test_a_faulty_engine_fails(name):
    report = verdict(name, "float64")
    assert report.summary.failed > 0
    assert report.summary.errored == 0, [case.message for case in report.cases]


def kind(check):
    """Return what a check compares, whichever engine it is about."""
    return check.name.rpartition(": ")[2]


def test_every_check_is_failed_by_some_faulty_engine():
    made = {kind(check) for case in verdict("torch", "float64").cases for check in case.checks}
    failed = {
        kind(check)
        for name in ENGINE_FAULTS
        for case in verdict(name, "float64").cases
        for check in case.checks
        if not check.passed
    }
    # Engines agree unless a network has two minima: see test_agreement.py.
    assert made - failed == {"activities", "energy"}


def descends(backend):
    """Gradient inference in a small linear network, step by step."""
    small = ["data.samples=4", "network.width=5", "residuals=[0.1]", "steps=[3,6]", "early=[]"]
    chosen = [f"backend={backend}", *small]
    return run_suites(
        load_suites(["inference"], overrides=chosen, select="contraction and hidden_layers=2")
    )


def test_steps_of_the_correct_backend_are_those_of_the_closed_form():
    report = descends("torch")
    assert report.exit_code == 0
    assert {"gradient: energy after n steps", "gradient: contraction a step"} <= {
        check.name for case in report.cases for check in case.checks
    }


@pytest.mark.parametrize("name", SLOW_FAULTS)
def test_other_steps_are_told_by_the_closed_form(name):
    failed = {
        check.name for case in descends(name).cases for check in case.checks if not check.passed
    }
    assert "gradient: energy after n steps" in failed


def test_a_wrong_step_is_told_by_its_rate():
    failed = {
        check.name
        for case in descends("HalfTheStep").cases
        for check in case.checks
        if not check.passed
    }
    assert "gradient: contraction a step" in failed


@pytest.mark.parametrize("steps", ["[10,5000]", "[7,7]"])
def test_numbers_of_steps_beyond_all_growth_or_written_twice_do_no_harm(steps):
    small = ["data.samples=4", "residuals=[0.1]", f"steps={steps}"]
    select = "contraction[hidden_layers=2,width=20]"
    [case] = run_suites(load_suites(["inference"], overrides=small, select=select)).cases
    assert (case.status, case.message) == ("passed", "")


def test_an_origin_whose_inference_is_not_finished_is_not_judged_by_what_it_says_of_itself():
    lazy = ["inference.engine=gradient", "inference.step=1e-9", "inference.max_steps=1"]
    [case] = run_suites(
        load_suites(["nonlinear"], overrides=lazy, select="origin-pre and activation=tanh")
    ).cases
    assert [check.name for check in case.checks if not check.passed] == [
        "inference: residual within the budget"
    ]


@pytest.mark.parametrize("steps", [40, 2000])
def test_divergence_that_the_step_asked_for_leads_to_says_so_and_is_no_failure(steps):
    chosen = ["engines.gradient.step=3", f"engines.gradient.max_steps={steps}", "data.samples=4"]
    report = run_suites(
        load_suites(
            ["nonlinear"], overrides=chosen, select="smooth and silu and post and bias=true"
        )
    )
    [case] = report.cases
    assert case.status == "undecided"
    [diverged] = [check for check in case.checks if check.name == "gradient: finite energy"]
    assert "gradient: inference diverged: after" in diverged.message
    assert "steps of 3, where 2/λ_max is" in diverged.message
    assert [check.name for check in case.checks if check.status == "failed"] == []
    assert "gauss-newton and" not in "".join(check.name for check in case.checks)


def test_an_engine_whose_budget_is_spent_is_not_asked_for_less():
    small = ["data.samples=4", "network.width=10", "early=[]", "engines.gradient.max_steps=3"]
    report = run_suites(
        load_suites(["inference"], overrides=small, select="depth-tanh and hidden_layers=2")
    )
    [case] = report.cases
    price = case.series["price of gradient"]
    assert price["converged"] == [0.0]
    assert price["steps"] == [3.0]
    assert len(case.series["price of gauss-newton"]["converged"]) == 3
    assert case.series["samples of gradient above the residual"]["sample"] == [0.0, 1.0, 2.0, 3.0]
    [timing] = [timing for timing in case.timings if timing.name.startswith("gradient to")]
    assert timing.details["samples short of it"] == 4.0
    assert timing.details["passes"] == price["passes"][0]


def test_a_step_that_raises_the_energy_is_told_as_that():
    failed = {
        check.name
        for case in run_suites(
            load_suites(
                ["nonlinear"],
                overrides=[
                    "backend=AcceptsIncreases",
                    "engines.gradient.max_steps=10",
                    "data.samples=4",
                ],
                select="rectifiers and activation=relu",
            )
        ).cases
        for check in case.checks
        if not check.passed
    }
    assert "gauss-newton: rise of the energy in a step" in failed


@pytest.mark.parametrize(("backend", "told"), [("torch", False), ("SlightlyWrongPull", True)])
def test_a_force_that_is_wrong_by_a_ten_thousandth_is_told_in_float32(backend, told):
    """At the size that it is: 4 layers of 100 units, 64 samples."""
    chosen = [f"backend={backend}", "dtype=float32", "residuals=[0.2]"]
    report = run_suites(
        load_suites(["inference"], overrides=chosen, select="usual and activation=tanh")
    )
    failed = {check.name for case in report.cases for check in case.checks if not check.passed}
    assert ("paper: reported residual" in failed) == told
    assert report.summary.passed == int(not told)
