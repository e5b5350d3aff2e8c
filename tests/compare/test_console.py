import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pcbench.compare import Change, Comparison, Side, compare
from pcbench.compare.console import render_comparison
from pcbench.report import Summary
from pcbench.report.text import make_console
from tests.compare.compare_strategies import reports


@pytest.fixture(scope="module", autouse=True)
def plain_environment():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        yield


def side(suite="theory"):
    return Side(
        suite=suite,
        created="2025-03-01T12:00:00Z",
        pcbench="0.1.0",
        interrupted=False,
        summary=Summary(passed=1),
    )


def comparison(*changes, notes=(), judged=5):
    return Comparison(
        base=side(),
        new=side(),
        notes=list(notes),
        compared=5,
        judged=judged,
        unchanged=4,
        changes=list(changes),
        timings=[],
    )


def change(effect="worse", case="energy[bold]", check="", message="is gone; it passed before."):
    return Change(kind="case_removed", effect=effect, case=case, check=check, message=message)


def piped(found, **options):
    stream = io.StringIO()
    render_comparison(found, make_console(stream), **options)
    return stream.getvalue()


@given(base=reports(), new=reports(), width=st.integers(10, 200))
@settings(max_examples=50, deadline=None)
def test_every_change_is_named_on_one_line_at_any_width(base, new, width):
    found = compare(base, new)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system=None, width=width)
    render_comparison(found, console)
    for text in (stream.getvalue(), piped(found)):
        assert "\x1b" not in text
        for change in found.changes:
            cases = change.case, f"{change.suite}: {change.case}"
            heads = {
                "  ".join(filter(None, [f"{change.effect:<7}", case, change.check]))
                for case in cases
            }
            assert heads & {*text.splitlines()}


def test_a_change_is_a_line_with_names_and_a_sentence_below():
    text = piped(comparison(change(check="least eigenvalue")))
    assert "worse    energy[bold]  least eigenvalue\n         is gone; it passed before.\n" in text


def test_changes_that_say_the_same_share_their_sentence():
    text = piped(comparison(change(case="a"), change(case="b"), change(effect="better", case="c")))
    assert text.count("is gone; it passed before.") == 2
    assert re.search(r"worse    a\nworse    b\n +is gone", text)


def test_notes_stand_above_the_changes():
    text = piped(comparison(change(), notes=["The new run was interrupted."]))
    assert text.index("The new run was interrupted.") < text.index("energy[bold]")


def test_the_last_line_gives_the_verdict():
    changes = [change(), change(effect="neutral"), change(effect="better")]
    assert piped(comparison(*changes)).splitlines()[-1] == (
        "Regression: 1 worse, 1 neutral, 1 better; 4 of 5 cases unchanged."
    )
    assert piped(comparison(*changes[1:])).splitlines()[-1] == (
        "No regression: 0 worse, 1 neutral, 1 better; 4 of 5 cases unchanged."
    )


def test_a_comparison_of_nothing_is_no_success():
    text = piped(comparison(change(effect="neutral"), judged=0))
    assert text.splitlines()[-1].startswith(
        "Nothing was compared: of 5 cases in both reports none has a check that both decide;"
    )
    assert piped(comparison(change(), judged=0)).splitlines()[-1].startswith("Regression")


def test_quiet_shows_only_what_got_worse_and_the_verdict():
    found = comparison(
        change(case="lost"), change(effect="better", case="gained"), notes=["A note."]
    )
    text = piped(found, quiet=True)
    assert "lost" in text
    assert "gained" not in text
    assert "A note." not in text
    assert "theory" not in text
    assert len(text.splitlines()) == 4


def test_a_terminal_breaks_long_sentences_between_words():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system=None, width=40)
    render_comparison(comparison(change(message="word " * 30)), console, quiet=True)
    body = [line for line in stream.getvalue().splitlines() if line.startswith("         ")]
    assert len(body) > 1
    assert max(map(len, body)) <= 40


def test_where_reports_are_of_two_suites_each_case_is_named_with_its_own():
    suites = {"base": side("theory + escape"), "new": side("theory + escape")}
    found = comparison(
        change(case="a").model_copy(update={"suite": "theory"}),
        change(case="a").model_copy(update={"suite": "escape"}),
    )
    text = piped(found.model_copy(update=suites))
    assert "worse    theory: a\nworse    escape: a\n" in text
    assert "theory: a" not in piped(found)
