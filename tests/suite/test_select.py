import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcbench.suite import SuiteError, load_suites, parse_selection
from tests.helpers.toy_suites import load_suite

SUITE = """\
suite: s
cases:
  - {id: toy-5x5, kind: ordered}
  - {id: Toy-10, kind: ordered, figure: "7"}
  - {id: other, kind: toy, data: digits, figure: "1, 12"}
"""


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("toy", ["toy-5x5", "Toy-10", "other"]),
        ("TOY-", ["toy-5x5", "Toy-10"]),
        ("ordered", ["toy-5x5", "Toy-10"]),
        ("not ordered", ["other"]),
        ("toy and not 10", ["toy-5x5", "other"]),
        ("5x5 or other", ["toy-5x5", "other"]),
        ("not 5x5 and not other", ["Toy-10"]),
        ("not (5x5 or other)", ["Toy-10"]),
        ("not(5x5 or other)", ["Toy-10"]),
        ("other or 5x5 and 10", ["other"]),
        ("(other or 5x5) and toy-", ["toy-5x5"]),
        ("not not other", ["other"]),
        ("android or other", ["other"]),
        ("digits", ["other"]),
        ("data=digits", ["other"]),
        ("suite=S", ["toy-5x5", "Toy-10", "other"]),
        ("figure=7", ["Toy-10"]),
        ("figure=1", ["other"]),
        (" ", ["toy-5x5", "Toy-10", "other"]),
        (None, ["toy-5x5", "Toy-10", "other"]),
    ],
)
def test_selection(load, expression, selected):
    assert [case.id for case in load(SUITE, select=expression).cases] == selected


@pytest.mark.parametrize("expression", ["low=1]", "low=1", "A[LOW=1"])
def test_a_part_of_a_concrete_id_selects_with_whole_numbers(load, expression):
    text = "suite: s\ncases: [{id: a, kind: ordered, matrix: {low: [0, 1, 1.5, 10, 1.0e-05]}}]"
    assert [case.id for case in load(text, select=expression).cases] == ["a[low=1]"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("(a", "a ')' is missing"),
        ("a)", "'and' or 'or' is missing before ')'"),
        ("a b", "'and' or 'or' is missing before 'b'"),
        ("a (b)", "'and' or 'or' is missing before '('"),
        ("not", "a name is missing before the end"),
        ("a or", "a name is missing before the end"),
        ("and a", "a name is missing before 'and'"),
        ("a and or b", "a name is missing before 'or'"),
        ("()", "a name is missing before ')'"),
        ("(" * 10_000, "more than 50"),
        ("not " * 10_000 + "a", "more than 50"),
    ],
)
def test_a_malformed_expression_is_one_sentence(expression, message):
    with pytest.raises(SuiteError) as caught:
        parse_selection(expression)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.at.file.startswith("-k ")


def test_width_is_not_bounded_as_depth_is():
    assert parse_selection(" or ".join(["(not a)"] * 1000))(("b", "b"), ())


@given(st.text("ab()notrd ", max_size=30))
def test_any_text_is_an_expression_or_one_problem(text):
    try:
        matches = parse_selection(text)
    except SuiteError as error:
        found = error.problems
    else:
        found = [matches(("a", "b"), ())]
    assert len(found) == 1


def test_a_selection_of_nothing_is_an_error(load):
    for overrides in ([], ["seed=3"]):
        with pytest.raises(SuiteError, match=r"^-k nowhere: no case matches"):
            load(SUITE, select="nowhere", overrides=overrides)


def test_a_selection_may_leave_some_of_several_suites_empty(write):
    one = write(SUITE, "one.yaml")
    two = write("suite: t\ncases: [{id: only, kind: ordered}]", "two.yaml")
    first, second = load_suites([one, two], select="only")
    assert first.cases == ()
    assert [case.id for case in second.cases] == ["only"]
    with pytest.raises(SuiteError, match="no case matches"):
        load_suite(one, select="only")


def test_the_name_of_a_suite_selects_only_in_full(write):
    one = write(SUITE, "one.yaml")
    two = write("suite: toy-like\ncases: [{id: only, kind: ordered}]", "two.yaml")
    first, second = load_suites([one, two], select="toy-like or toy-5")
    assert [case.id for case in first.cases] == ["toy-5x5"]
    assert [case.id for case in second.cases] == ["only"]
    first, second = load_suites([one, two], select="toy")
    assert (len(first.cases), first.total) == (3, 3)
    assert (len(second.cases), second.total) == (0, 1)


def test_data_given_by_defaults_or_by_an_axis_select(load):
    text = """\
suite: s
defaults: {data: {name: digits}}
cases:
  - {id: a, kind: toy}
  - {id: b, kind: ordered}
  - {id: c, kind: toy, matrix: {data.name: [digits, gaussian]}}
"""
    chosen = load(text, select="data=digits").cases
    assert [case.id for case in chosen] == ["a", "c[data=digits]"]
