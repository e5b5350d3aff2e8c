"""What is printed of an audit."""

import io

import pytest

from pcbench.audit.console import render_audit
from pcbench.report.console import make_console
from tests.audit.audit_faults import (
    Breaks,
    DoubledLoss,
    Harmless,
    MiscountedPasses,
    OnlyWithBiases,
    audited,
)


def printed(audit, **options):
    stream = io.StringIO()
    render_audit(audit, make_console(stream), **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    everything = (DoubledLoss, MiscountedPasses, Breaks, Harmless, OnlyWithBiases)
    return audited(tmp_path_factory.mktemp("console"), *everything)


def line_with(text, start):
    [line] = [line for line in text.splitlines() if line.strip().startswith(start)]
    return line


def test_a_row_says_what_the_mistake_is_and_which_check_caught_it(audit):
    row = line_with(printed(audit), "DoubledLoss")
    assert "The loss is doubled." in row
    assert "caught" in row
    assert row.split("caught")[1].split()[:2] == ["loss", "energy"]


def test_what_is_not_caught_is_listed_with_advice(audit):
    text = printed(audit)
    for heading, advice in {
        "1 survived": "Add a check of what they corrupt",
        "1 crashed": "that tells that something is wrong, not what",
        "1 no difference": "nothing in the suite can tell them",
        "1 not met": "No case asks what these corrupt",
    }.items():
        assert line_with(text, heading)
        assert advice in text
    assert "energy: RuntimeError: shapes do not fit" in text


def test_faults_that_are_not_claimed_are_counted_and_named_when_asked_for(audit):
    assert "Harmless" not in printed(audit)
    assert "1 not claimed; --verbose names them" in printed(audit)
    assert "Nothing is wrong" in printed(audit, verbose=True)


def test_the_score_and_the_verdict_come_last(audit):
    *_, score, verdict = printed(audit).splitlines()
    assert score.startswith("1 caught of 3 that changed an answer, of 5 tried, in ")
    assert verdict.startswith("Missed: ")
    assert "MiscountedPasses, Breaks. The suite claims to check these parts" in verdict


@pytest.mark.parametrize(
    ("covers", "narrowed", "verdict"),
    [
        (["loss"], False, "Missed: "),
        (["loss"], True, "None missed, but not all were tried: "),
        (["purity"], False, "Nothing shown: "),
    ],
)
def test_the_verdict_says_how_much_is_shown(tmp_path, covers, narrowed, verdict):
    audit = audited(tmp_path, DoubledLoss, Harmless, covers=covers, narrowed=narrowed)
    assert printed(audit).splitlines()[-1].startswith(verdict)


def test_a_claim_that_holds_is_said_to(tmp_path):
    audit = audited(tmp_path, DoubledLoss, MiscountedPasses, covers=["loss"])
    text = printed(audit)
    assert (
        text.splitlines()[-1]
        == "None missed: every fault in the parts that the suite checks is caught."
    )
    assert "claims to check: loss" in text
    assert "(inference_account)" in text


def test_a_claim_of_which_faults_were_not_tried_holds_so_far(tmp_path):
    audit = audited(tmp_path, DoubledLoss, covers=["loss"]).model_copy(update={"untried": 3})
    verdict = printed(audit).splitlines()[-1]
    assert verdict.startswith("None missed so far: ")
    assert verdict.endswith("; 3 were not tried.")


def test_an_audit_that_was_cut_off_says_so(audit):
    text = printed(audit.model_copy(update={"interrupted": True}))
    assert "interrupted, the faults after these were not tried" in text
