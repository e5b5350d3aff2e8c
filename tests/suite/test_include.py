"""Suites that are made of others."""

import pytest

from pcbench.suite import SuiteError
from tests.helpers.toy_suites import load_suite, outline

BASE = """\
suite: base
defaults: {low: -1}
cases:
  - {id: a, kind: ordered, sizes: {full: {high: 9}}}
"""
WHOLE = """\
suite: whole
defaults: {low: -2}
include: [base.yaml]
cases:
  - {id: b, kind: ordered}
"""


@pytest.fixture
def whole(write):
    write(BASE, "base.yaml")
    return write(WHOLE, "whole.yaml")


def test_the_cases_of_an_included_suite_come_first_with_their_own_defaults(whole):
    suite = load_suite(whole)
    assert [(case.id, case.parameters.low) for case in suite.cases] == [("a", -1), ("b", -2)]
    assert (suite.name, suite.total, suite.sizes) == ("whole", 2, ("quick", "full"))
    assert [case.id for case in outline(whole).cases] == ["a", "b"]
    assert load_suite(whole, size="full").cases[0].parameters.high == 9


def test_both_names_select_and_overrides_reach_all(whole):
    assert [case.id for case in load_suite(whole, select="suite=base").cases] == ["a"]
    assert len(load_suite(whole, select="suite=whole").cases) == 2
    assert {case.parameters.low for case in load_suite(whole, overrides=["low=0"]).cases} == {0}


def test_an_included_case_draws_what_it_draws_in_its_own_suite(whole):
    case = load_suite(whole).cases[0]
    assert case == load_suite(whole.with_name("base.yaml")).cases[0]


def test_a_suite_may_only_include_others(write):
    write(BASE, "base.yaml")
    suite = load_suite(write("suite: s\ninclude: [base.yaml]", "s.yaml"))
    assert [case.id for case in suite.cases] == ["a"]


def test_files_are_seen_from_the_suite_that_includes_them(write, tmp_path):
    (tmp_path / "below").mkdir()
    write(BASE, "below/base.yaml")
    write("suite: middle\ninclude: [base.yaml]", "below/middle.yaml")
    top = write("suite: top\ninclude: [below/middle.yaml]", "top.yaml")
    assert [case.id for case in load_suite(top).cases] == ["a"]


def problems(path, **options):
    with pytest.raises(SuiteError) as caught:
        load_suite(path, **options)
    return [
        (problem.at.file.rpartition("/")[2], problem.at.line, problem.at.column, problem.message)
        for problem in caught.value.problems
    ]


def test_a_circle_is_refused_with_the_way_round(write):
    write("suite: a\ninclude: [b.yaml]", "a.yaml")
    write("suite: b\ninclude: [a.yaml]", "b.yaml")
    [found] = problems(write("suite: a\ninclude: [b.yaml]", "a.yaml"))
    assert found == (
        "b.yaml",
        2,
        11,
        "a suite cannot include itself: a.yaml includes b.yaml includes a.yaml",
    )


@pytest.mark.parametrize(
    ("right", "wrong", "line", "says"),
    [
        ("kind: ordered", "kind: orderd", 4, "did you mean 'ordered'"),
        ("low: -1", "lwo: -1", 2, "no case of the suite has the parameter 'lwo'"),
    ],
)
def test_a_mistake_in_an_included_suite_is_told_where_it_stands(write, right, wrong, line, says):
    write(BASE.replace(right, wrong), "base.yaml")
    [found] = problems(write(WHOLE, "whole.yaml"))
    assert found[:2] == ("base.yaml", line)
    assert says in found[3]


def test_an_identifier_that_both_have_is_told_at_the_second(write):
    write(BASE, "base.yaml")
    [found] = problems(write(WHOLE.replace("id: b", "id: a"), "whole.yaml"))
    assert found[:2] == ("base.yaml", 4)
    assert "the id 'a' is taken at" in found[3]


@pytest.mark.parametrize(
    ("include", "says"),
    [
        ("[absent.yaml]", "there is no file"),
        ("[no_such_suite]", "no suite of this name comes with pcbench"),
        ("[3]", "'include' must name files or suites, not 3"),
        ("['']", "'include' must name files or suites, not ''"),
        ("base.yaml", "'include' must be a list of suites"),
        ("[.]", "no suite of this name comes with pcbench"),
        ("[./]", "there is no file"),
    ],
)
def test_what_cannot_be_included_is_refused_where_it_stands(write, include, says):
    found = problems(write(f"suite: s\ninclude: {include}\ncases: [{{id: b, kind: ordered}}]"))
    assert len(found) == 1
    assert found[0][:2] == ("suite.yaml", 2)
    assert says in found[0][3]


def test_a_suite_that_is_included_over_two_ways_is_included_once(write):
    write(BASE, "base.yaml")
    write("suite: one\ninclude: [base.yaml, ./base.yaml]", "one.yaml")
    write("suite: two\ninclude: [base.yaml]", "two.yaml")
    suite = load_suite(write("suite: s\ninclude: [one.yaml, two.yaml]", "s.yaml"))
    assert [case.id for case in suite.cases] == ["a"]


def test_a_chain_of_many_suites_is_refused(write):
    for n in range(30):
        write(f"suite: s{n}\ninclude: [s{n + 1}.yaml]", f"s{n}.yaml")
    write(BASE, "s30.yaml")
    [found] = problems(write("suite: s\ninclude: [s0.yaml]", "s.yaml"))
    assert "over more than 20 levels" in found[3]


def test_a_name_that_no_system_takes_is_refused_where_it_stands(write):
    [found] = problems(write(f"suite: s\ninclude: [{'x' * 300}.yaml]", "s.yaml"))
    assert "there is no file" in found[3]
