"""What `pcbench run` says and where, as its options have it."""

import re

import pytest

from pcbench import registry, report
from pcbench.case import Case, CaseParameters
from pcbench.report import read_report
from tests.helpers.toy_suites import ENERGY, ORIGIN, UNFINISHED, write_suite


class Explosive(Case[CaseParameters]):
    kind = "explosive"
    description = "Breaks when it is run"
    Parameters = CaseParameters

    def run(self, context):
        yield from ()
        raise ZeroDivisionError("a bug in a case")


@pytest.fixture
def explosive(monkeypatch, tmp_path):
    monkeypatch.setitem(registry.CASES._added, "explosive", Explosive)
    return write_suite(tmp_path / "explosive.yaml", "{id: bang, kind: explosive}")


def test_a_run_in_which_a_check_fails_exits_with_1(invoke, tmp_path):
    done = invoke("run", write_suite(tmp_path / "failing.yaml", UNFINISHED, ENERGY))
    assert done.code == 1
    assert done.out.splitlines()[-1].startswith("1 passed, 1 failed, 0 errored, 0 skipped")


def test_quiet_leaves_failures_and_the_count(invoke, tmp_path):
    done = invoke("run", write_suite(tmp_path / "s.yaml", ENERGY, UNFINISHED), "--quiet")
    assert (done.code, done.err) == (1, "")
    lines = done.out.splitlines()
    assert lines[0] == "failed   unfinished"
    assert lines[-1].startswith("1 passed, 1 failed")
    assert "energy  " not in done.out


def test_verbose_shows_every_check(invoke, tmp_path):
    file = tmp_path / "report.json"
    done = invoke("run", write_suite(tmp_path / "s.yaml", ORIGIN), "--verbose", "--json", file)
    checks = read_report(file).cases[0].checks
    assert len(checks) > 1
    for check in checks:
        assert re.search(rf"^ +{re.escape(check.name)}  .*  passed$", done.out, re.MULTILINE)


def test_an_error_in_a_case_is_one_line_unless_verbose(invoke, explosive):
    done = invoke("run", explosive)
    assert done.code == 3
    assert "ZeroDivisionError: a bug in a case" in done.out
    assert "Traceback" not in done.out + done.err
    verbose = invoke("run", explosive, "--verbose")
    assert verbose.code == 3
    assert 'raise ZeroDivisionError("a bug in a case")' in verbose.err


def test_a_report_that_cannot_be_written_after_all_does_not_cost_the_table(
    invoke, suite, tmp_path, monkeypatch
):
    def write_report(*_):
        raise report.UnwritableOutputError("the disk is full")

    monkeypatch.setattr("pcbench.cli.running.write_report", write_report)
    done = invoke("run", suite, "--json", tmp_path / "report.json")
    assert done.code == 2
    assert done.out.splitlines()[-1].startswith("1 passed")
    assert done.err.splitlines()[-1] == "the disk is full"


def test_a_bug_of_pcbench_is_no_verdict(invoke, monkeypatch):
    def shipped_suites():
        raise RuntimeError("a bug")

    monkeypatch.setattr("pcbench.suite.shipped_suites", shipped_suites)
    done = invoke("list")
    assert done.code == 3
    assert "RuntimeError: a bug" in done.err


def test_several_suites_make_one_report(invoke, tmp_path):
    first = write_suite(tmp_path / "first.yaml", ENERGY, name="first")
    second = write_suite(tmp_path / "second.yaml", ORIGIN, name="second")
    file = tmp_path / "report.json"
    assert invoke("run", first, second, "--json", file).code == 0
    written = read_report(file)
    assert written.suite == "first + second"
    assert [case.id for case in written.cases] == ["energy", "origin"]


def test_options_override_the_suite(invoke, suite, tmp_path):
    file = tmp_path / "report.json"
    options = ("--dtype", "float32", "--seed", 7, "--set", "network.width=3", "-k", "ener")
    assert invoke("run", suite, *options, "--json", file).code == 0
    [case] = read_report(file).cases
    assert (case.dtype, case.seed, case.parameters["network"]["width"]) == ("float32", 7, 3)
