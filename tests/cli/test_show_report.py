"""``pcbench show REPORT [CASE]``."""

import shlex

import pytest

from pcbench.report import read_report
from tests.helpers.toy_suites import ENERGY, SIZED, write_suite


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def report(invoke, kept):
    path = kept / "report.json"
    if not path.exists():
        suite = write_suite(kept / "suite.yaml", ENERGY, SIZED)
        done = invoke("run", suite, "--backend", "numpy", "--in-process", "--json", path)
        assert done.code == 0, done.err
        path.with_suffix(".txt").write_text(done.out)
    return path


def test_a_report_is_printed_as_its_run_printed_it(invoke, report):
    done = invoke("show", report)
    assert (done.code, done.err) == (0, "")
    assert done.out == report.with_suffix(".txt").read_text()


def test_a_case_is_told_with_all_its_checks_and_their_grounds(invoke, report):
    case = next(each for each in read_report(report).cases if each.id == "energy")
    done = invoke("show", report, "energy")
    assert done.code == 0
    for check in case.checks:
        assert check.name in done.out
        assert f"Demanded by {check.source}; tolerance" in done.out
    for told in ("parameters", "network.width: ", *case.digests.values(), "run by"):
        assert told in done.out


def test_the_name_of_a_family_stands_for_all_its_cases(invoke, report):
    done = invoke("show", report, "sized")
    assert "sized[widths=2]" in done.out
    assert "sized[widths=3]" in done.out


def test_a_case_of_a_shipped_suite_comes_with_the_command_that_runs_it(invoke, tmp_path):
    path = tmp_path / "theory.json"
    options = ("-k", "origin-2d and widths=10", "--backend", "numpy", "--in-process")
    assert invoke("run", "theory", *options, "--json", path).code == 0
    done = invoke("show", path, "origin-2d[widths=10]")
    command = done.out.split("run it again")[-1]
    _, _, suite, option, name = shlex.split(command)
    assert (suite, option, name) == ("theory", "-k", "origin-2d[widths=10]")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report.json", "enrgy"], "has no case 'enrgy'; did you mean 'energy'?"),
        (["absent.json"], "absent.json"),
    ],
)
def test_what_is_not_there_is_a_sentence(invoke, report, arguments, said):
    name, *case = arguments
    done = invoke("show", report.with_name(name), *case)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_report_becomes_a_page(invoke, report, tmp_path):
    page = tmp_path / "page.html"
    done = invoke("report", report, "--html", page, "--baseline", report)
    assert (done.code, done.out, done.err) == (0, f"{page}\n", "")
    text = page.read_text()
    assert "sized" in text
    assert "Nothing changed" in text


def test_a_page_that_cannot_be_written_is_a_sentence(invoke, report, tmp_path):
    done = invoke("report", report, "--html", tmp_path / "no" / "page.html")
    assert (done.code, done.out) == (2, "")
    assert str(tmp_path / "no") in done.err
