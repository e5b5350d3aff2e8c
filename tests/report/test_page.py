"""The page of a report: all of it is there, nothing is from elsewhere, and text stays text."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from pcbench.checks import Tolerance, approx
from pcbench.compare import compare
from pcbench.report.page import render_page
from tests.report.report_strategies import reports

VOID = {"meta", "input", "wbr", "br"}


class Page(HTMLParser):
    """Reads a page; refuses one whose elements do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.said = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.said.append(data)

    @property
    def text(self):
        return "".join(self.said)

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


@pytest.fixture
def failing(make_case, make_report):
    wrong = approx("energy", 1.0, 2.0, Tolerance(1e-3, "rounding"), source="Theorem 1")
    return make_report(make_case("sound"), make_case("wrong", [wrong], message=wrong.message))


def test_the_verdict_stands_on_top_and_what_failed_comes_first(failing):
    page = Page(render_page([failing]))
    assert "1 of 2 cases failed" in page.text
    assert page.text.index("wrong") < page.text.index("sound")
    assert "All of" not in page.text


def test_a_report_without_a_failure_says_how_much_holds(make_case, make_report):
    page = Page(render_page([make_report(make_case("a"), make_case("b"))]))
    assert "All of 4 checks in 2 cases hold" in page.text


def test_nothing_judged_is_no_success(make_case, make_report):
    page = Page(render_page([make_report(make_case("a", [], status="skipped", message="why"))]))
    assert "Nothing was judged" in page.text
    assert "why" in page.text


def test_a_run_that_was_cut_off_is_no_success(make_case, make_report):
    report = make_report(make_case("a")).model_copy(update={"interrupted": True})
    assert "before the end" in Page(render_page([report])).text


@settings(deadline=None, max_examples=30)
@given(reports())
def test_every_case_and_check_of_any_report_is_there(report):
    text = Page(render_page([report])).text
    for case in report.cases:
        assert case.id in text
        for check in case.checks:
            assert check.name in text
            assert check.source in text


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7*7 }}{% raw %}&amp;</style>"


def test_names_that_are_hostile_stay_text(make_case, make_report):
    tolerance = Tolerance(1e-3, HOSTILE)
    case = make_case(
        HOSTILE,
        [approx(HOSTILE, 1.0, 2.0, tolerance, source=HOSTILE, where=HOSTILE)],
        suite=HOSTILE,
        kind=HOSTILE,
        message=HOSTILE,
        traceback=HOSTILE,
        parameters={HOSTILE: {HOSTILE: HOSTILE}},
        omitted={HOSTILE: HOSTILE},
    )
    page = Page(render_page([make_report(case)]))
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not page.values("onerror")
    assert page.text.count(HOSTILE) > 8


def test_nothing_comes_from_elsewhere(failing):
    text = render_page([failing])
    page = Page(text)
    assert not {"link", "img", "iframe", "object"} & {*page.tags}
    assert not page.values("src")
    assert all(target.startswith("#case-") for target in page.values("href"))
    assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest", text)


def test_each_link_leads_to_a_case(failing):
    page = Page(render_page([failing]))
    assert {target.removeprefix("#") for target in page.values("href")} < {*page.values("id")}
    assert len(page.values("id")) == len({*page.values("id")})


def test_what_changed_since_a_baseline_is_told(failing, make_case, make_report):
    before = make_report(make_case("sound"), make_case("gone"))
    page = Page(render_page([failing], compare(before, failing)))
    assert "Against the baseline" in page.text
    assert "is gone" in page.text
    same = Page(render_page([before], compare(before, before)))
    assert "Nothing changed in 2 cases" in same.text


def test_several_reports_make_one_page(make_case, make_report):
    one, other = (make_report(make_case(name, suite=name)) for name in ("first", "second"))
    page = Page(render_page([one, other]))
    assert "option" in page.tags  # a choice of suites
    for name in ("first", "second"):
        assert name in page.text
