"""``--size`` and ``figure``, from the command line to the report, in a process of its own."""

import json

import pytest
import yaml

from pcbench.report import read_report
from tests.helpers.command_line import pcbench
from tests.helpers.toy_suites import ENERGY, SIZED, write_suite

IDS = {
    "quick": ["sized[widths=2]", "sized[widths=3]"],
    "full": ["sized[widths=2]", "sized[widths=4x4]"],
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A case with a figure and two sizes, and one without either."""
    return write_suite(tmp_path_factory.mktemp("sizes") / "suite.yaml", SIZED, ENERGY)


@pytest.fixture(scope="module")
def ran(suite):
    """Run the suite at both sizes; the text and the report by the name of the size."""

    def run(size, *options):
        file = suite.with_name(f"{size}.json")
        done = pcbench("run", suite, *options, "--json", file)
        assert done.returncode == 0, done.stderr
        return done.stdout, read_report(file)

    return {"quick": run("quick"), "full": run("full", "--size", "full")}


@pytest.mark.parametrize("size", IDS)
def test_a_run_at_a_size_runs_its_cases_and_says_so(ran, size):
    _, report = ran[size]
    assert report.size == size
    assert [case.id for case in report.cases] == [*IDS[size], "energy"]
    *sized, energy = (case.parameters["data"]["samples"] for case in report.cases)
    assert set(sized) == {{"quick": 8, "full": 16}[size]}
    assert energy == 8


def test_the_report_says_which_figure_a_case_reproduces(ran, suite):
    _, report = ran["quick"]
    assert [case.figure for case in report.cases] == ["5", "5", ""]
    written = json.loads(suite.with_name("quick.json").read_text(encoding="utf-8"))
    assert [case["figure"] for case in written["cases"]] == ["5", "5", ""]
    assert written["size"] == "quick"


def test_the_table_has_figures_first_and_its_heading_the_size(ran):
    quick, full = (ran[size][0].splitlines() for size in IDS)
    assert quick[0].startswith("toy  torch")
    assert full[0].startswith("toy  size full · torch")
    for lines, names in ((quick, IDS["quick"]), (full, IDS["full"])):
        rows = {tuple(line.split()[:2]) for line in lines}
        assert {("figure", "case"), *(("5", name) for name in names)} <= rows
        assert any(line.startswith("        energy ") for line in lines)


def test_a_size_draws_what_the_case_draws_as_written(ran, suite):
    file = suite.with_name("set.json")
    chosen = ("--size", "full", "--set", "data.samples=8", "-k", "widths=2", "--json", file)
    done = pcbench("run", suite, *chosen)
    assert done.returncode == 0, done.stderr
    [case], as_written = read_report(file).cases, ran["quick"][1].cases[0]
    assert (case.parameters, case.checks) == (as_written.parameters, as_written.checks)


def test_what_a_size_changes_is_told_by_a_comparison_as_any_other_parameter(ran, suite):
    done = pcbench("compare", suite.with_name("quick.json"), suite.with_name("full.json"))
    assert done.returncode == 1  # a case is missing
    assert "data.samples" in done.stdout


def test_list_gives_the_cases_of_a_size_and_their_figures(suite):
    for options, size in (((), "quick"), (("--size", "full"), "full")):
        done = pcbench("list", suite, *options)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            *(f"{name}  origin_hessian  figure 5" for name in IDS[size]),
            "energy  equilibrated_energy",
        ]


def test_show_resolves_a_case_at_a_size(suite):
    done = pcbench("show", "sized[widths=4x4]", "--suite", suite, "--size", "full")
    assert done.returncode == 0, done.stderr
    heading, *_ = done.stdout.splitlines()
    assert heading == "sized[widths=4x4] (suite toy, size full)"
    settled = yaml.safe_load(done.stdout.split("\n\n", 1)[1])
    assert (settled["figure"], settled["data"]["samples"]) == ("5", 16)


def test_validate_names_the_sizes_and_checks_them_all(suite, tmp_path):
    done = pcbench("validate", suite, "--size", "full")
    assert (done.returncode, done.stdout) == (0, f"{suite}: valid, 3 cases (sizes quick, full)\n")
    wrong = write_suite(tmp_path / "wrong.yaml", SIZED.replace("samples: 16", "samples: 0"))
    column = wrong.read_text(encoding="utf-8").splitlines()[2].index("samples: 0") + 10
    done = pcbench("validate", wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{wrong}:3:{column}: 'data.samples' must be greater than 0, not 0 (at size full)\n"
    )


@pytest.mark.parametrize(
    "command", [("run",), ("list",), ("validate",), ("show", "energy", "--suite")]
)
def test_a_size_that_no_case_has_is_refused_with_those_that_there_are(suite, command):
    for size, named in (("ful", "ful"), ("", "''")):
        done = pcbench(*command, suite, "--size", size)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"--size {named}: no case has this size; there are quick, full\n"
