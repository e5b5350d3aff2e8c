"""What a failed check says: counts with their unit, entries and spent budgets by name."""

from functools import partial

import numpy as np
import pytest

from pcbench import checks
from pcbench.checks import Tolerance
from pcbench.contract import GradientInference, OdeInference
from pcbench.judges.answers import InferenceResult
from pcbench.judges.reported import (
    array_names,
    as_reported,
    budget_spent,
    counted,
    differing,
    layers,
    none_of,
)
from pcbench.judges.saddle import entry_name

RESIDUAL = checks.at_most("residual", 0.5, 1e-6, Tolerance(1e-9, "rounding"), source="theory")


def spent(settings, steps, *, converged=False):
    nothing = np.zeros(())
    result = InferenceResult([], nothing, steps, nothing, converged)
    return budget_spent(RESIDUAL, settings, result, 0.5)


def test_things_that_are_counted_have_their_unit_and_total():
    check = none_of("malformed", 8, 10, "answers", source="contract")
    assert check.message == "malformed: 8 of 10 answers; none is allowed."
    assert none_of("malformed", 0, 10, "answers", source="contract").passed
    changed = differing("inputs changed", [np.zeros(4)], [np.array([0.0, 1.0, 2.0, 0.0])])
    assert changed.message == "inputs changed: 2 of 4 numbers; none is allowed."


def test_a_count_that_is_wrong_says_what_is_counted_and_how_many_are_due():
    steps = counted("steps")
    assert checks.approx("inference", 8, 10, steps, source="contract").message == (
        "inference: 8 steps should equal 10."
    )
    assert checks.within("inference", 12, (1, 10), steps, source="contract").message == (
        "inference: 12 steps should lie in [1, 10]."
    )
    assert checks.at_least("record", 1, 3, counted("passes"), source="contract").message == (
        "record: 1 passes should be at least 3."
    )
    assert checks.approx("inference", 10, 10, steps, source="contract").passed


def test_an_entry_of_a_hessian_is_named_by_its_two_weights():
    hessian = np.zeros((3, 10))
    check = checks.all_close(
        "Hessian entries",
        np.where(np.arange(30).reshape(3, 10) == 13, 1.0, hessian),
        hessian,
        Tolerance(1e-9, "rounding"),
        source="theory",
        entry=partial(entry_name, [(2, 3), (2, 2)], 6),
    )
    assert check.where == "W_2[0, 1] by W_1[1, 0]"


def test_arrays_of_parameters_are_named_as_in_the_theory():
    weights, biases = [np.zeros((2, 3)), np.zeros((1, 2))], [np.zeros(2), np.zeros(1)]
    assert array_names([*weights, *biases]) == ["W_1", "W_2", "b_1", "b_2"]


@pytest.mark.parametrize(
    ("settings", "steps", "cause"),
    [
        (GradientInference(step=0.1, max_steps=7), 7, "(max_steps 7) was spent"),
        (GradientInference(step=0.1, max_steps=7), 3, "inference ended after 3 of 7 steps"),
        (OdeInference(max_steps=7, max_time=2), 3, "3 of 7 steps, by itself or at max_time 2,"),
    ],
)
def test_a_budget_that_was_spent_is_called_that(settings, steps, cause):
    message = spent(settings, steps).message
    assert f"{cause} before the residual was reached" in message
    assert "it is 0.5 of where it began" in message


def test_an_answer_that_calls_itself_converged_spent_no_budget():
    settings = GradientInference(step=0.1, max_steps=7)
    assert spent(settings, 7, converged=True) == RESIDUAL


def test_an_answer_that_misreports_convergence_is_told_what_it_said():
    assert as_reported("converged", told=True, reached=False).message == (
        "converged: the answer says that it has converged; by its residual it has not."
    )
    assert as_reported("converged", told=False, reached=True).message == (
        "converged: the answer says that it has not converged; by its residual it has."
    )
    assert as_reported("converged", told=True, reached=True).passed


def test_layers_are_counted_from_one():
    assert layers(2) == ["layer 1", "layer 2"]
