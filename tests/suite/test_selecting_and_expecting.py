"""Tags by which cases are selected, and failures that a suite expects."""

import pytest

from pcbench.suite import SuiteError

SUITE = """\
suite: s
cases:
  - {id: a, kind: ordered, tags: [slow, figures]}
  - {id: b, kind: ordered, tags: [quick]}
  - {id: slowly, kind: ordered}
"""


@pytest.mark.parametrize(
    ("select", "ids"),
    [
        ("tag=slow", ["a"]),
        ("slow", ["a", "slowly"]),
        ("tag=slow or tag=quick", ["a", "b"]),
        ("not tag=slow", ["b", "slowly"]),
    ],
)
def test_tags_are_words_of_a_selection(load, select, ids):
    assert [case.id for case in load(SUITE, select=select).cases] == ids


def test_a_tag_is_matched_as_a_whole(load):
    with pytest.raises(SuiteError, match="no case matches"):
        load(SUITE, select="tag=slo")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("tags: ¶slow", "'tags' must be a list of names, not 'slow'"),
        ("tags: ¶[]", "'tags' must be a list of names, not an empty one"),
        ("tags: [slow, ¶slow]", "the tag 'slow' is there twice; once is enough"),
        ("tags: [¶3]", "a tag must be a string, not 3"),
        ("tags: [¶'a b']", "a tag must be a name made of"),
        ("expect: ¶fail", "'expect' must be a mapping such as {fail: the reason why it fails}"),
        ("expect: {¶pass: why}", "unknown key 'pass'"),
        ("expect: {fail: ¶true}", "'fail' must be the reason why a check fails, not true"),
        ("tolerance_factor: {x: ¶{factor: 2}}", "'tolerance_factor.x.reason' is missing"),
        ("tolerance_factor: {x: {factor: ¶0, reason: y}}", "must be at least 1e-12, not 0"),
        ("tolerance_factor: {x: {factor: ¶.inf, reason: y}}", "must be a finite number, not .inf"),
        (
            "tolerance_factor: {x: {factor: 2, reason: ¶' '}}",
            "must be a reason, in a line, not",
        ),
        ("tolerance_factor: {x: ¶2}", "'tolerance_factor.x' must be a mapping, not 2"),
        ("expect: {fail: ¶' '}", "'fail' must be the reason why a check fails, in a line"),
    ],
)
def test_what_is_not_valid_is_refused_where_it_stands(refuse_case, lines, message):
    refuse_case(f"kind: ordered\n{lines}", message)


def test_a_failure_is_expected_for_a_reason(load_case):
    case = load_case("kind: ordered", "expect: {fail: its energy is a mean}")
    assert case.expected_failure == "its energy is a mean"
    assert load_case("kind: ordered").expected_failure == ""


def test_a_factor_is_of_single_cases(refuse):
    refuse(
        "suite: s\ndefaults: {¶tolerance_factor: {x: {factor: 2, reason: y}}}\n"
        "cases: [{id: a, kind: ordered}]",
        "'tolerance_factor' belongs to a single case",
    )


def test_cases_that_differ_in_a_factor_see_the_same_weights(load):
    factors = "[{x: {factor: 2, reason: y}}, {x: {factor: 3, reason: y}}]"
    suite = load(
        f"suite: s\ncases: [{{id: a, kind: ordered, matrix: {{tolerance_factor: {factors}}}}}]"
    )
    assert [case.randomness for case in suite.cases] == ["a", "a"]
