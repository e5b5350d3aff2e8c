import io
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pcbench.checks import Tolerance, approx, at_most, below, undecided, within
from pcbench.claims import Claim
from pcbench.report import Timing
from pcbench.report.console import make_console, render_report
from pcbench.report.text import format_number
from pcbench.tolerances import ToleranceFactor
from tests.report.report_strategies import printable, reports

ROUNDING = Tolerance(1e-12, "64 · eps · κ(S)")


@pytest.fixture(scope="module", autouse=True)
def plain_environment():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            patch.delenv(name, raising=False)
        patch.setenv("TERM", "xterm-256color")
        yield


def piped(report, **options):
    stream = io.StringIO()
    render_report(report, make_console(stream), **options)
    return stream.getvalue()


def on_terminal(report, width, **options):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system=None, width=width)
    render_report(report, console, **options)
    return stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def failing(make_case, identifier="energy[width=3]", **fields):
    checks = [
        approx("least eigenvalue", 0.25, 0.25, ROUNDING, source="Theorem 2"),
        approx("energy", 0.5, 0.4, ROUNDING, source="Theorem 1", where="layer 3"),
    ]
    return make_case(identifier, checks, **fields)


def column_of(text, *words):
    """Return the positions at which the words begin, each found after the one before."""
    positions, start = [], 0
    for word in words:
        start = text.index(word, start)
        positions.append(start)
    return positions


@given(report=reports(names=printable), width=st.integers(10, 250))
@settings(max_examples=40, deadline=None)
def test_every_name_and_number_is_whole_on_one_line_at_any_width(report, width):
    for text in (on_terminal(report, width, verbose=True), piped(report, verbose=True)):
        lines = text.splitlines()
        for case in report.cases:
            assert any(case.id in line for line in lines)
            for check in case.checks if case.status != "skipped" else []:
                assert any(check.name in line for line in lines)
                assert any(format_number(check.observed) in line for line in lines)
            for claim in case.claims:
                for shown in (claim.name, claim.setting, claim.ratio, claim.verdict):
                    assert any(shown in line for line in lines)


@given(report=reports())
@settings(max_examples=40, deadline=None)
def test_no_report_makes_piped_output_carry_control_characters(report):
    for options in ({}, {"verbose": True}, {"quiet": True}):
        assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", piped(report, **options)) is None


def test_claims_have_a_table_of_their_own_whatever_became_of_their_case(make_case, make_report):
    kept = {"name": "PC is sooner", "source": "figure 2", "required": True}
    sooner = Claim(
        setting="matched scaling",
        verdict="borne out",
        low=0.4,
        estimate=0.432,
        high=0.46,
        confidence=0.992,
        pairs=8,
        **kept,
    )
    unknown = Claim(
        setting="published scaling",
        verdict="unresolved",
        low=0,
        estimate=None,
        high=None,
        confidence=None,
        pairs=0,
        **{**kept, "required": False},
    )
    report = make_report(
        make_case("sound", claims=[sooner]),
        make_case("short", [], status="skipped", message="unresolved", claims=[unknown]),
    )
    lines = piped(report).splitlines()
    titles, _, first, second, legend = lines[lines.index("", 2) + 1 :][:5]
    assert titles.split() == [
        *("case", "claim", "setting", "ratio", "confidence", "pairs", "required", "verdict")
    ]
    assert re.split("  +", first) == [
        *("sound", "PC is sooner", "matched scaling", "0.432 [0.4, 0.46]"),
        *("99.2%", "8", "yes", "borne out"),
    ]
    assert re.split("  +", second) == [
        *("short", "PC is sooner", "published scaling", "open [0, ∞]", "–", "0", "no", "unresolved")
    ]
    assert "A claim is borne out where" in legend
    assert "PC is sooner" not in piped(report, quiet=True)


def test_reports_without_claims_say_nothing_of_them(make_case, make_report):
    assert "claim" not in piped(make_report(make_case()))


def test_a_piped_run_of_the_interpreter_has_no_escape_codes_and_ascii_still_works(
    make_case, make_report, tmp_path
):
    file = tmp_path / "report.json"
    file.write_text(make_report(make_case()).model_dump_json())
    program = (
        "import sys; from pathlib import Path; from pcbench.report import Report\n"
        "from pcbench.report.console import make_console, render_report\n"
        "report = Report.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "render_report(report, make_console(sys.stdout))\n"
        "print('numpy' in sys.modules, 'torch' in sys.modules, 'scipy' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        capture_output=True,
        check=True,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert b"\x1b" not in run.stdout
    assert rb"5\xd7300" in run.stdout
    assert b"energy[hidden_layers=5,data=mnist1d]" in run.stdout
    assert run.stdout.endswith(b"False False False\n")


def test_markup_in_names_and_messages_is_shown_and_not_obeyed(make_case, make_report):
    case = make_case(
        "energy[bold red]", [], status="errored", message="[link]x[/link] [/oops] :smile:"
    )
    text = on_terminal(make_report(case), 200)
    assert "energy[bold red]" in text
    assert "[link]x[/link] [/oops] :smile:" in text


def test_control_characters_are_escaped(make_case, make_report):
    case = make_case("a\x1b[31m\nb", [], status="errored", message="bell\x07 and \x1b[2J")
    text = piped(make_report(case))
    assert r"a\x1b[31m\nb" in text
    assert r"bell\x07 and \x1b[2J" in text


def test_a_terminal_has_colours_unless_no_color_is_set(make_case, make_report, monkeypatch):
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    report = make_report(failing(make_case))

    def drawn():
        stream = Terminal()
        render_report(report, make_console(stream))
        return stream.getvalue()

    assert colour.search(drawn())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour.search(drawn())
    assert "failed" in drawn()


def test_the_table_has_its_columns_in_order_under_their_titles(make_case, make_report):
    rate = within("rate", 0.62, (0.4, 0.6), Tolerance(1e-3, "99 %"), source="section 4")
    case = make_case(checks=[rate, approx("energy", 1, 1, ROUNDING, source="")], status="passed")
    lines = piped(make_report(case)).splitlines()
    titles = next(line for line in lines if line.startswith("case"))
    row = next(line for line in lines if line.startswith("energy["))
    starts = column_of(titles, "case", "data", "network", "check ", "expected", "status")
    assert starts == column_of(row, "energy[", "mnist1d ", "5×300", "rate", "∈ [0.4", "passed")
    values = ("2 ", " 0.62 ", " -19", " 0.41 s")
    ends = [titles.index(word) + len(word) for word in ("checks", "observed", "margin", "time")]
    assert ends == [row.index(value) + len(value.rstrip()) for value in values]


def test_a_case_that_passed_shows_its_tightest_check_and_their_number(make_case, make_report):
    case = make_case(
        checks=[
            approx("roomy", 1, 1, ROUNDING, source=""),
            approx("tight", 1 + 9e-13, 1, ROUNDING, source=""),
            below("very roomy", -1, 0, ROUNDING, source=""),
        ]
    )
    text = piped(make_report(case))
    assert "tight" in text
    assert "roomy" not in text
    assert re.search(r"5×300\s+3\s+tight", text)


def test_verbose_shows_every_check(make_case, make_report):
    text = piped(make_report(make_case()), verbose=True)
    assert re.search(r"^ +energy +0\.25 +≈ 0\.25 +\+1 +passed$", text, re.MULTILINE)
    assert re.search(r"^ +rate +0\.5999 +∈ \[0\.4, 0\.6\] +\+1\.1 +passed$", text, re.MULTILINE)


def test_a_failed_case_shows_every_check_without_verbose(make_case, make_report):
    text = piped(make_report(failing(make_case)))
    assert re.search(r"^ +least eigenvalue .* passed$", text, re.MULTILINE)
    assert re.search(r"^ +energy .* failed$", text, re.MULTILINE)


def test_failures_come_first_and_then_the_order_of_the_suite(make_case, make_report):
    report = make_report(
        make_case("a[1]"),
        make_case("b[1]", [], status="errored", message="no"),
        failing(make_case, "c[1]"),
        make_case("d[1]"),
        failing(make_case, "e[1]"),
    )
    assert re.findall(r"[a-e]\[1\]", piped(report)) == [
        *("c[1]", "e[1]", "b[1]"),  # explained
        *("c[1]", "e[1]", "b[1]", "a[1]", "d[1]"),  # in the table
        *("a[1]", "b[1]", "c[1]", "d[1]", "e[1]"),  # in the timings
    ]


def test_a_failure_is_explained_with_its_source_and_tolerance(make_case, make_report):
    text = piped(make_report(failing(make_case)), quiet=True)
    assert "energy: 0.5 should equal 0.4; it misses what is allowed by 0.1 (layer 3)." in text
    assert "Demanded by Theorem 1; tolerance 1e-12, from 64 · eps · κ(S)." in text


def test_a_reason_that_case_and_check_share_is_given_once(make_case, make_report):
    check = failing(make_case).checks[1]
    for message in (check.message, check.explanation):
        text = piped(make_report(failing(make_case, message=message)), quiet=True)
        assert text.count("energy: 0.5 should equal 0.4") == 1


def test_an_error_is_explained_by_the_case(make_case, make_report):
    case = make_case(checks=[], status="errored", message="the backend raised MemoryError.")
    text = piped(make_report(case), quiet=True)
    assert "errored  energy[" in text
    assert "the backend raised MemoryError." in text


def test_quiet_shows_only_failures_and_the_count(make_case, make_report):
    report = make_report(
        make_case("fine"), failing(make_case, "bad"), make_case("gone", [], status="skipped")
    )
    text = piped(report, quiet=True)
    assert "bad" in text
    assert "fine" not in text
    assert "gone" not in text
    assert "theory" not in text
    assert piped(make_report(make_case()), quiet=True) == (
        "1 passed, 0 failed, 0 errored, 0 skipped in 0.4 s\n"
    )


def test_an_undecided_case_is_explained_and_counted(make_case, make_report):
    check = undecided("energy", "S is singular in float64.", source="Theorem 1", where="layer 3")
    text = piped(make_report(make_case("open", [check], status="undecided")), quiet=True)
    assert "undecided  open" in text
    assert "S is singular in float64 (layer 3)." in text
    assert "Demanded by Theorem 1.\n" in text
    assert "0 skipped, 1 undecided in" in text


def test_cases_that_ran_without_a_part_of_them_say_so(make_case, make_report):
    parts = {"engine gauss-newton": "the backend 'jpc' does not offer gauss_newton_inference"}
    without = [make_case(name, omitted=parts) for name in ("a[1]", "b[1]")]
    text = piped(make_report(*without, make_case("whole")))
    sentence = "Without engine gauss-newton: the backend 'jpc' does not offer"
    assert text.count(sentence) == 1
    assert text.index("in part  a[1]") < text.index("in part  b[1]") < text.index(sentence)
    assert "in part  whole" not in text


def test_what_a_suite_excuses_is_told_with_its_reason(make_case, make_report):
    factor = {"energy": ToleranceFactor(factor=10, reason="products are made in TF32")}
    excused = make_case("wide", tolerance_factor=factor)
    text = piped(make_report(excused, make_case("late", expected_failure="it is a mean")))
    assert "The tolerance of energy is multiplied by 10: products are made in TF32" in text
    assert "A check fails, as the suite expects: it is a mean" in text


def test_skipped_cases_share_the_sentence_of_their_reason(make_case, make_report):
    reason = "mnist is not on this machine; name its folder with PCBENCH_DATA."
    skips = [make_case(name, [], status="skipped", message=reason) for name in ("a[1]", "b[1]")]
    text = piped(make_report(*skips))
    assert text.count(reason) == 1
    assert text.index("skipped  a[1]") < text.index("skipped  b[1]") < text.index(reason)


def test_timings_are_summarised(make_case, make_report):
    text = piped(make_report(make_case()))
    assert re.search(r"energy\[.*\] +inference +2 ms +1\.5 ms +3$", text, re.MULTILINE)


def test_a_timing_whose_spread_exceeds_it_is_marked_and_its_ratio_too(make_case, make_report):
    steady = Timing.of("slow", [0.5, 0.5])
    bp = Timing.of("gradients of the loss (BP)", [0.01, 0.01, 0.01, 0.1, 0.1])
    text = piped(make_report(make_case("timed", timings=[bp, steady])))
    [slow] = [line for line in text.splitlines() if "slow" in line]
    assert slow.endswith("50 (unsteady)")
    assert "90 ms (unsteady)" in text
    assert "Unsteady: the interquartile range is larger" in text
    text = piped(make_report(make_case("timed", timings=[steady])))
    assert "nsteady" not in text


def test_timings_are_told_in_bp_steps_where_one_was_timed(make_case, make_report):
    slow = Timing.of("slow", [0.5])
    bp = Timing.of("gradients of the loss (BP)", [0.1])
    text = piped(make_report(make_case("timed", timings=[bp, slow]), make_case("other")))
    assert re.search(r"timed +slow .* +1 +5$", text, re.MULTILINE)
    assert re.search(r"other +inference .* +3 +–$", text, re.MULTILINE)
    assert "peak memory" not in text


def test_what_else_a_timed_thing_took_stands_beside_its_time(make_case, make_report):
    slow = Timing.of("slow", [0.5], details={"steps": 12.0, "passes": 3.25})
    other = Timing.of("other", [0.5], details={"steps": None})
    text = piped(make_report(make_case("timed", timings=[slow, other])))
    assert re.search(r"timing .* steps +passes$", text, re.MULTILINE)
    assert re.search(r"timed +slow .* 12 +3\.25$", text, re.MULTILINE)
    assert re.search(r"timed +other .* – +–$", text, re.MULTILINE)


def test_the_last_line_counts_and_times_the_run(make_case, make_report):
    cases = [make_case("a", duration_s=20), make_case("b", [], status="skipped", duration_s=15.1)]
    counts = "1 passed, 0 failed, 0 errored, 1 skipped in"
    assert piped(make_report(*cases)).splitlines()[-1] == f"{counts} 35.1 s"
    assert piped(make_report(*cases, duration_s=21.2)).splitlines()[-1] == f"{counts} 21.2 s"


def test_an_interrupted_run_says_so_even_when_quiet(make_case, make_report):
    text = piped(make_report(make_case(), interrupted=True), quiet=True)
    assert "interrupted, the cases after these did not run" in text


def test_settings_are_said_once_and_get_a_column_where_they_differ(make_case, make_report):
    alike = piped(make_report(make_case("a"), make_case("b")))
    assert "torch · cpu · float64 · seed 0 · pcbench 0.1.0" in alike.splitlines()[0]
    mixed = piped(make_report(make_case("a"), make_case("b", device="cuda")))
    assert "torch · float64 · seed 0 · pcbench 0.1.0" in mixed.splitlines()[0]
    assert re.search(r"^a .* cpu .*passed", mixed, re.MULTILINE)
    assert re.search(r"^b .* cuda .*passed", mixed, re.MULTILINE)


def test_a_size_is_said_unless_the_cases_are_as_written(make_case, make_report):
    heading = piped(make_report(make_case())).splitlines()[0]
    assert "size" not in heading
    heading = piped(make_report(make_case(), size="full")).splitlines()[0]
    assert heading.startswith("theory  size full · torch · cpu")


def test_figures_are_a_first_column_where_any_case_has_one(make_case, make_report):
    report = make_report(make_case("a", figure="9, 10"), make_case("b"))
    lines = piped(report, verbose=True).splitlines()
    assert any(line.startswith("figure  case  ") for line in lines)
    assert any(line.startswith("9, 10   a  ") for line in lines)
    assert any(line.startswith("        b  ") for line in lines)
    checks = [line for line in lines if "≈ 0.25" in line]
    assert len(checks) == 2
    assert all(line.startswith(" " * 14) for line in checks)
    assert "figure" not in piped(make_report(make_case("b")))


@pytest.mark.parametrize("width", [40, 110])
def test_on_a_narrow_terminal_a_figure_stands_before_its_case(make_case, make_report, width):
    report = make_report(make_case("a", figure="9, 10"), make_case("b", device="x" * 40))
    lines = on_terminal(report, width, verbose=True).splitlines()
    assert "9, 10  a" in lines
    assert "b" in lines


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_gets_lines_that_fit_where_names_allow_it(make_case, make_report, width):
    long = "equilibrated-energy[network.hidden_layers=10,data.name=toy_gaussian]"
    text = on_terminal(make_report(make_case(long), failing(make_case)), width)
    lines = [line for line in text.splitlines() if long not in line]
    assert max(map(len, lines)) <= width
    assert long in text.splitlines()


def test_prose_is_broken_between_words_but_not_in_a_name(make_case, make_report):
    name = "least eigenvalue of the loss at the origin"
    case = make_case(checks=[at_most(name, 2, 1, ROUNDING, source="Theorem 3")])
    lines = on_terminal(make_report(case), 50, quiet=True).splitlines()
    assert any(name in line for line in lines)
    assert any(line.strip() == "rounding." or "allowed by" in line for line in lines)
    assert max(map(len, lines)) <= 9 + len(name) + 1


def test_an_empty_report_has_its_heading_and_count(make_report):
    lines = piped(make_report()).splitlines()
    assert len(lines) == 3
    assert lines[-1] == "0 passed, 0 failed, 0 errored, 0 skipped in 0.0 s; nothing was judged"


def test_cases_of_two_suites_that_share_an_identifier_are_named_with_their_suite(
    make_report, make_case
):
    text = piped(
        make_report(
            failing(make_case, "a", suite="theory"),
            failing(make_case, "a", suite="mine"),
            failing(make_case, "b", suite="mine"),
        )
    )
    heads = re.findall(r"^failed  (.*)$", text, re.M)
    assert heads[:3] == [" theory: a", " mine: a", " b"]
