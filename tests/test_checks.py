"""Verdicts: what passes, what fails, by how much, and what is said."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pcbench import checks
from pcbench.checks import Check, Tolerance, Worst
from pcbench.tolerances import ToleranceFactor, multiplied

HALF = Tolerance(0.5, "chosen for the test")
numbers = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)


def verdict(relation, observed, expected, tolerance=HALF, **where):
    return relation("energy", observed, expected, tolerance, source="Theorem 1", **where)


# relation, observed, expected, margin in tolerances of one half
EXAMPLES = [
    (checks.approx, 3.0, 3.0, 1.0),
    (checks.approx, 3.25, 3.0, 0.5),
    (checks.approx, 2.5, 3.0, 0.0),
    (checks.approx, 4.0, 3.0, -1.0),
    (checks.at_most, 3.0, 3.0, 1.0),
    (checks.at_most, 3.5, 3.0, 0.0),
    (checks.at_most, -7.0, 3.0, 21.0),
    (checks.at_most, 4.0, 3.0, -1.0),
    (checks.at_least, 3.0, 3.0, 1.0),
    (checks.at_least, 2.5, 3.0, 0.0),
    (checks.at_least, 9.0, 3.0, 13.0),
    (checks.at_least, 2.0, 3.0, -1.0),
    (checks.below, 2.5, 3.0, 0.0),
    (checks.below, 3.0, 3.0, -1.0),
    (checks.below, 2.0, 3.0, 1.0),
    (checks.within, 3.0, (3.0, 4.0), 1.0),
    (checks.within, 3.5, (3.0, 4.0), 2.0),
    (checks.within, 2.5, (3.0, 4.0), 0.0),
    (checks.within, 4.5, (3.0, 4.0), 0.0),
    (checks.within, 2.0, (3.0, 4.0), -1.0),
    (checks.within, 5.0, (3.0, 4.0), -1.0),
    (checks.all_close, [3.0, 3.25], [3.0, 3.0], 0.5),
    (checks.all_close, [3.0, 4.0], [3.0, 3.0], -1.0),
    (checks.distance, [3.0, 4.0], [3.0, 3.75], 0.5),
    (checks.distance, [3.3, 4.4], [3.0, 4.0], 0.0),
    (checks.distance, [3.6, 4.8], [3.0, 4.0], -1.0),
]


@pytest.mark.parametrize(("relation", "observed", "expected", "margin"), EXAMPLES)
def test_margin_counts_tolerances_to_the_edge_and_its_sign_decides(
    relation, observed, expected, margin
):
    check = verdict(relation, observed, expected)
    assert check.margin == pytest.approx(margin, abs=1e-12)
    if margin:
        assert check.passed == (margin > 0)
    assert check.passed == (check.status == "passed") == (check.margin >= 0)
    assert bool(check.message) == (not check.passed)


RELATIONS = {
    checks.approx: lambda o, e, t: abs(o - e) <= t,
    checks.at_most: lambda o, e, t: o <= e + t,
    checks.at_least: lambda o, e, t: o >= e - t,
    checks.below: lambda o, e, t: o <= e - t,
}


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.__name__)
@given(observed=numbers, expected=numbers, tolerance=positive)
def test_a_number_passes_exactly_if_it_stands_as_demanded(relation, observed, expected, tolerance):
    check = verdict(relation, observed, expected, Tolerance(tolerance, "any"))
    if abs(check.margin) * tolerance > 1e-9:  # at the very edge rounding decides
        assert check.passed == RELATIONS[relation](observed, expected, tolerance)


@given(observed=numbers, low=numbers, width=positive, tolerance=positive)
def test_a_number_passes_exactly_if_it_lies_in_the_widened_interval(
    observed, low, width, tolerance
):
    check = verdict(checks.within, observed, (low, low + width), Tolerance(tolerance, "any"))
    if abs(check.margin) * tolerance > 1e-9:
        assert check.passed == (low - tolerance <= observed <= low + width + tolerance)


def test_a_verdict_keeps_what_was_compared_and_why():
    check = verdict(checks.within, 3.0, (2.0, 4.0), where="layer 2")
    assert (check.name, check.observed, check.relation) == ("energy", 3.0, "∈")
    assert (check.expected, check.tolerance) == ((2.0, 4.0), 0.5)
    assert (check.derivation, check.source) == ("chosen for the test", "Theorem 1")
    assert (check.where, check.comparisons) == ("layer 2", 1)


@pytest.mark.parametrize(
    ("relation", "observed", "expected", "sentence"),
    [
        (checks.approx, 4.0, 3.0, "energy: 4 should equal 3; "),
        (checks.at_most, 4.0, 3.0, "energy: 4 should be at most 3; "),
        (checks.at_least, 2.0, 3.0, "energy: 2 should be at least 3; "),
        (checks.below, 3.0, 3.0, "energy: 3 should be less than 3 beyond rounding; "),
        (checks.within, 5.0, (3.0, 4.0), "energy: 5 should lie in [3, 4]; "),
    ],
)
def test_a_failure_says_what_was_wrong_and_by_how_much(relation, observed, expected, sentence):
    message = verdict(relation, observed, expected).message
    assert message == f"{sentence}it misses what is allowed by 0.5."


@pytest.mark.parametrize(
    ("observed", "expected", "sentence"),
    [
        ([14.915, 0.0], [14.9, 0.0], "differ by 0.015 (0.1 % of the expected norm 14.9)"),
        ([1.0, 0.0], [0.0, 0.0], "differ by 1 (the expected norm is 0)"),
    ],
)
def test_a_distance_says_that_it_is_one_and_how_large_the_thing_is(observed, expected, sentence):
    allowed = Tolerance(3e-13, "rounding")
    check = verdict(checks.distance, observed, expected, allowed, where="layer 2")
    assert check.explanation == (
        f"energy: observed and expected {sentence}; 3e-13 is allowed (layer 2)."
    )
    assert verdict(checks.distance, [math.nan], [1.0]).message.endswith("the backend answered nan.")


def test_numbers_that_differ_in_their_last_digits_are_told_apart():
    allowed = Tolerance(1e-18, "rounding")
    message = verdict(checks.approx, 1 + 2**-52, 1.0, allowed).message
    assert "1.0000000000000002 should equal 1.0;" in message
    message = verdict(checks.within, 1 + 1e-8, (0.0, 1.0), allowed).message
    assert "1.00000001 should lie in [0, 1];" in message


SCALARS = [checks.approx, checks.at_most, checks.at_least, checks.below]


@pytest.mark.parametrize("answer", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("relation", SCALARS, ids=lambda relation: relation.__name__)
def test_an_answer_that_is_no_finite_number_fails_however_it_should_stand(relation, answer):
    check = verdict(relation, answer, 3.0)
    assert not check.passed
    assert (check.observed, check.margin, check.expected) == (None, None, 3.0)
    assert check.message == f"energy: the backend answered {answer}."
    assert not verdict(checks.within, answer, (3.0, 4.0)).passed


@pytest.mark.parametrize("answer", [math.nan, math.inf, -math.inf])
def test_one_entry_that_is_no_finite_number_fails_the_array(answer):
    check = verdict(checks.all_close, [[1.0, 9.0], [answer, 3.0]], [[1.0, 2.0], [3.0, 3.0]])
    assert not check.passed
    assert check.where == "entry (1, 0)"
    assert check.message == f"energy: the backend answered {answer}."
    assert not verdict(checks.distance, [1.0, answer], [1.0, 1.0]).passed


@pytest.mark.parametrize("relation", SCALARS, ids=lambda relation: relation.__name__)
@pytest.mark.parametrize("expected", [math.nan, math.inf])
def test_a_theory_without_a_finite_number_is_a_mistake_of_ours(relation, expected):
    with pytest.raises(ValueError, match="the theory must give a finite number"):
        verdict(relation, 1.0, expected)


@pytest.mark.parametrize("relation", [checks.all_close, checks.distance])
def test_a_theory_with_an_entry_that_is_not_finite_is_a_mistake_of_ours(relation):
    with pytest.raises(ValueError, match="the theory must give a finite number"):
        verdict(relation, [1.0, 1.0], [1.0, math.nan])


def test_an_interval_with_an_end_that_is_not_finite_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="the theory must give a finite number"):
        verdict(checks.within, 1.0, (0.0, math.inf))


@pytest.mark.parametrize("relation", [checks.all_close, checks.distance])
def test_an_answer_of_another_shape_fails(relation):
    check = verdict(relation, np.zeros((2, 3)), np.zeros((3, 2)), where="layer 1")
    assert not check.passed
    assert check.message == "energy: the backend answered with shape (2, 3) where (3, 2) is due."
    assert check.explanation.endswith("is due (layer 1).")
    assert (check.observed, check.expected, check.margin) == (None, None, None)


@pytest.mark.parametrize("relation", [checks.all_close, checks.distance])
def test_comparing_nothing_is_a_mistake_of_ours(relation):
    with pytest.raises(ValueError, match="nothing to compare"):
        verdict(relation, [], [])


def test_the_worst_entry_of_an_array_is_named_and_all_are_counted():
    check = verdict(
        checks.all_close, [[1.0, 2.1], [3.0, 4.4]], [[1.0, 2.0], [3.2, 4.0]], where="rows from 0"
    )
    assert (check.observed, check.expected) == (4.4, 4.0)
    assert check.where == "rows from 0, entry (1, 1)"
    assert check.comparisons == 4
    assert verdict(checks.all_close, 3.0, 3.0).where == ""


def each(observed, expected, tolerances):
    return checks.each_close("energy", observed, expected, tolerances, "by hand", source="test")


def test_every_entry_may_have_a_tolerance_of_its_own():
    check = each([1.0, 2.5, 9.0], [1.0, 2.0, 3.0], [1e-9, 1.0, 8.0])
    assert check.passed
    assert (check.observed, check.expected, check.tolerance) == (9.0, 3.0, 8.0)
    assert (check.where, check.comparisons, check.margin) == ("entry (2)", 3, 0.25)
    assert not each([1.0, 2.5, 9.0], [1.1, 2.0, 3.0], [1e-9, 1.0, 8.0]).passed


def test_an_entry_is_named_by_its_label():
    seen = checks.each_close(
        "energy",
        [1.0, 3.0],
        [1.0, 2.0],
        [0.1, 0.1],
        "any",
        source="test",
        labels=["seed 4", "seed 7"],
    )
    assert seen.where == "seed 7"


def test_the_axes_of_an_array_say_what_an_entry_is():
    seen = verdict(
        checks.all_close,
        [[1.0, 2.0], [3.0, 9.0]],
        [[1.0, 2.0], [3.0, 4.0]],
        axes=["sample", "input"],
    )
    assert seen.where == "sample 2, input 2"


def test_of_entries_with_tolerances_of_their_own_one_that_is_no_number_is_the_worst():
    check = each([1.0, math.nan, 9.0], [1.0, 2.0, 3.0], [1.0, 1e9, 1e-9])
    assert not check.passed
    assert check.where == "entry (1)"
    assert not each([1.0], [1.0, 2.0], [1.0, 1.0]).passed
    with pytest.raises(ValueError, match="nothing to compare"):
        each([], [], [])
    for allowed in (0.0, math.nan):
        with pytest.raises(ValueError, match="not positive"):
            each([0.0], [0.0], [allowed])


def test_a_verdict_on_numbers_too_far_apart_to_subtract_fails_and_stays_finite():
    for check in (
        verdict(checks.approx, 1e308, -1e308),
        verdict(checks.approx, 1e300, 0.0, Tolerance(1e-300, "tiny")),
    ):
        assert not check.passed
        assert check.margin is None
        assert Check.model_validate_json(check.model_dump_json()) == check


@given(st.lists(numbers, min_size=1, max_size=8))
def test_an_array_is_as_good_as_its_worst_entry(observed):
    expected = [0.0] * len(observed)
    singles = [verdict(checks.approx, value, 0.0).margin for value in observed]
    assert verdict(checks.all_close, observed, expected).margin == min(singles)


@given(st.lists(numbers, min_size=1, max_size=8))
def test_a_distance_is_the_frobenius_norm(observed):
    check = verdict(checks.distance, observed, [0.0] * len(observed))
    assert check.observed == pytest.approx(math.hypot(*observed))


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e200, 1e300])
def test_a_distance_whose_squares_leave_the_range_is_one_still(size):
    allowed = Tolerance(1.5 * size, "between the two")
    assert verdict(checks.distance, [size, size], [size, 0.0], allowed).status == "passed"
    assert (
        verdict(checks.distance, [size, size, size], [size, 0, -size], allowed).status == "failed"
    )


@pytest.mark.parametrize("value", [0.0, -1.0, -math.inf, math.nan])
def test_a_tolerance_is_positive(value):
    with pytest.raises(ValueError, match="a tolerance is positive"):
        Tolerance(value, "none")


def test_a_verdict_cannot_be_changed_and_takes_nothing_unknown():
    check = verdict(checks.approx, 1.0, 1.0)
    with pytest.raises(ValidationError, match="frozen"):
        check.status = "failed"
    with pytest.raises(ValidationError, match="Extra inputs"):
        Check(**check.model_dump(), verdict="good")
    with pytest.raises(AttributeError):
        HALF.value = 1.0


def test_a_verdict_is_located_further_without_changing():
    check = verdict(checks.approx, 1.0, 1.0, where="layer 2")
    assert check.at("step 7").where == "layer 2, step 7"
    assert check.where == "layer 2"
    assert verdict(checks.approx, 1.0, 1.0).at("step 7").where == "step 7"


def test_an_explanation_puts_the_place_into_the_sentence():
    failed = verdict(checks.approx, 4.0, 3.0, where="layer 2")
    assert failed.explanation.endswith("it misses what is allowed by 0.5 (layer 2).")
    assert verdict(checks.approx, 4.0, 3.0).explanation.endswith("allowed by 0.5.")
    assert verdict(checks.approx, 3.0, 3.0, where="layer 2").explanation == ""


@pytest.mark.parametrize(("relation", "observed", "expected", "margin"), EXAMPLES)
def test_a_verdict_survives_json(relation, observed, expected, margin):
    check = verdict(relation, observed, expected)
    assert Check.model_validate_json(check.model_dump_json()) == check


def test_json_of_a_verdict_on_nan_is_strict():
    check = verdict(checks.approx, math.nan, 3.0)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    stored = json.loads(check.model_dump_json(), parse_constant=refuse)
    assert stored["observed"] is None
    assert Check(**stored) == check


def folded(*found):
    worst = Worst()
    worst.add(*found)
    return list(worst)


@given(st.lists(numbers, min_size=1, max_size=8))
def test_folding_keeps_the_comparison_nearest_the_edge_and_counts_all(observed):
    found = [
        verdict(checks.approx, value, 0.0).at(f"step {step}") for step, value in enumerate(observed)
    ]
    (check,) = folded(*found)
    assert check.margin == min(each.margin for each in found)
    assert check.comparisons == len(found)
    assert check.model_copy(update={"comparisons": 1}) in found


def test_folding_never_averages_a_failure_away():
    good, bad = verdict(checks.approx, 3.0, 3.0), verdict(checks.approx, 9.0, 3.0)
    (check,) = folded(good, good, bad, good)
    assert not check.passed
    assert check.comparisons == 4


def test_folding_prefers_an_answer_that_is_no_number_to_any_failure():
    lost, bad = verdict(checks.approx, math.nan, 3.0), verdict(checks.approx, 1e9, 3.0)
    for order in ((lost, bad), (bad, lost)):
        (check,) = folded(*order)
        assert check.observed is None


def test_folding_puts_what_cannot_be_decided_between_failures_and_passes():
    good, bad = verdict(checks.approx, 3.0, 3.0), verdict(checks.approx, 9.0, 3.0)
    open_ = checks.undecided("energy", "No bound is known.", source="Theorem 0", where="step 2")
    for order, kept in (((good, open_, good), open_), ((open_, bad, open_), bad)):
        (check,) = folded(*order)
        assert check.status == kept.status
        assert check.comparisons == 3


UNBOUNDED = Tolerance(math.inf, "overflow")


@pytest.mark.parametrize("relation", [checks.approx, checks.all_close, checks.distance])
@pytest.mark.parametrize("expected", [3.0, math.inf])
def test_without_a_bound_no_number_passes_or_fails_but_one_of_another_shape(relation, expected):
    check = verdict(relation, 3.0, expected, UNBOUNDED)
    assert (check.status, check.tolerance) == ("undecided", None)
    assert "resolves too little" in check.message
    if relation != checks.approx:
        answer = verdict(relation, [3.0], 3.0, UNBOUNDED)
        assert (answer.status, answer.tolerance) == ("failed", None)


@pytest.mark.parametrize("answer", [math.nan, math.inf])
@pytest.mark.parametrize("relation", [*SCALARS, checks.all_close, checks.distance])
def test_an_answer_that_is_no_finite_number_fails_without_a_bound_where_a_finite_one_is_due(
    relation, answer
):
    check = verdict(relation, answer, 3.0, UNBOUNDED)
    assert (check.status, check.tolerance) == ("failed", None)
    assert check.message == f"energy: the backend answered {answer}."
    assert Check.model_validate_json(check.model_dump_json()) == check
    assert verdict(relation, answer, math.inf, UNBOUNDED).status == "undecided"


def test_arrays_too_far_apart_to_subtract_are_undecided_without_a_bound():
    assert verdict(checks.distance, [1e200], [-1e200], UNBOUNDED).status == "undecided"
    assert verdict(checks.all_close, [1e308], [-1e308], UNBOUNDED).status == "undecided"


def test_an_entry_without_a_bound_leaves_the_array_undecided_unless_another_fails():
    def judged(seen):
        return each(seen, [1.0, 1.0], [0.5, math.inf])

    assert judged([1.0, 9.0]).status == "undecided"
    assert judged([9.0, 1.0]).status == "failed"
    lost = judged([1.0, math.nan])
    assert (lost.status, lost.where) == ("failed", "entry (1)")


def test_what_cannot_be_decided_has_neither_numbers_nor_tolerance_and_does_not_pass():
    check = checks.undecided("energy", "No bound is known.", source="Theorem 0", where="step 2")
    assert check.status == "undecided"
    assert {check.observed, check.expected, check.tolerance, check.margin} == {None}
    assert check.explanation == "No bound is known (step 2)."
    assert not checks.all_passed([check])
    assert Check(**json.loads(check.model_dump_json())) == check


def test_folding_keeps_names_apart_in_the_order_they_came_and_sums_their_counts():
    array = verdict(checks.all_close, [1.0, 2.0], [1.0, 2.0])
    other = checks.approx("loss", 1.0, 1.0, HALF, source="definition")
    worst = Worst()
    worst.add(array)
    worst.add(other, array)
    assert [(check.name, check.comparisons) for check in worst] == [("energy", 4), ("loss", 1)]
    assert len(list(worst)) == 2  # again: iterating consumes nothing


def test_of_equal_margins_the_first_is_kept():
    first, second = (verdict(checks.approx, 3.0, 3.0, where=name) for name in ("a", "b"))
    (check,) = folded(first, second)
    assert check.where == "a"


def test_nothing_folded_is_nothing():
    assert folded() == []


def test_all_passed_is_true_of_passed_checks_alone():
    good, bad = verdict(checks.approx, 3.0, 3.0), verdict(checks.approx, 9.0, 3.0)
    assert checks.all_passed([good, good])
    assert checks.all_passed([])
    assert not checks.all_passed([good, bad])


@given(st.sampled_from(range(6)), st.floats(0.5, 4), st.floats(0.01, 2))
def test_a_factor_makes_the_check_that_a_tolerance_multiplied_by_it_makes(which, factor, off):
    """Also of those that are made of others, which must not be multiplied twice."""

    def made(times):
        by = Tolerance(times * 0.5, "rounding")
        arrays = np.array([1.0, 1.0 + off]), np.array([1.0, 1.0])
        return [
            lambda: checks.approx("x", 1 + off, 1.0, by, source="s"),
            lambda: checks.at_most("x", 1 + off, 1.0, by, source="s"),
            lambda: checks.below("x", 1 - off, 1.0, by, source="s"),
            lambda: checks.within("x", 1 + off, (0.0, 1.0), by, source="s"),
            lambda: checks.all_close("x", *arrays, by, source="s"),
            lambda: checks.distance("x", *arrays, by, source="s"),
        ][which]()

    with multiplied({"x": ToleranceFactor(factor=factor, reason="why")}) as factors:
        found = made(1)
    assert not factors.unused
    expected = made(factor)
    assert found.derivation == f"rounding, times {factor:g}: why"
    assert found.model_copy(update={"derivation": "rounding"}) == expected
