"""What is printed of one case."""

import io

from hypothesis import given, settings

from pcbench.checks import Tolerance, approx, undecided
from pcbench.report.console import make_console
from pcbench.report.one_case import render_case
from tests.report.report_strategies import reports


def shown(case, report, **options):
    stream = io.StringIO()
    render_case(case, report, make_console(stream), **options)
    return stream.getvalue()


def test_all_that_is_to_be_said_of_a_case_is_said(make_case, make_report):
    tolerance = Tolerance(1e-3, "rounding")
    checks = [
        approx("energy", 1.0, 2.0, tolerance, source="Theorem 1", where="layer 3"),
        undecided("loss", "S is singular.", source="Theorem 2"),
    ]
    case = make_case(
        "a[1]",
        checks,
        message="It broke off.",
        status="errored",
        omitted={"engine ode": "it is not offered"},
        passed_over=["x.gz is truncated"],
        contended=True,
        expected_failure="it is a mean",
        digests={"data": "0123456789abcdef"},
    )
    text = shown(case, make_report(case), again="pcbench run s -k 'a[1]'")
    for told in (
        "errored  a[1]",
        "It broke off.",
        "expects that a check fails: it is a mean",
        "Without engine ode: it is not offered.",
        "x.gz is truncated: passed over.",
        "Other cases ran meanwhile",
        "1, to be ≈ 2; margin -999 (layer 3).",
        "Demanded by Theorem 1; tolerance 0.001, from rounding.",
        "S is singular.",
        "network.width: 300",
        "data: 0123456789abcdef",
        "run it again\n  pcbench run s -k 'a[1]'",
    ):
        assert told in text, told


@settings(deadline=None)
@given(reports())
def test_any_case_can_be_shown(report):
    for case in report.cases:
        text = shown(case, report)
        assert case.status in text
