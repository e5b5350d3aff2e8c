"""`pcbench run` as a user meets it: in a pipe, with its exit code, its table and its report."""

import json
import shlex

import jsonschema
import pytest

from pcbench.report import read_report
from tests.helpers.command_line import pcbench
from tests.helpers.toy_suites import ENERGY, ON_CIFAR10, ON_MNIST, ORIGIN, UNFINISHED, write_suite

LONG_NAME = "a-name-that-no-terminal-of-eighty-columns-could-hold-" * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def passing(folder):
    long = ORIGIN.replace("id: origin", f"id: {LONG_NAME}")
    suite = write_suite(folder / "passing.yaml", ENERGY, long)
    return pcbench("run", suite, "--json", folder / "passing.json")


@pytest.fixture(scope="module")
def mixed(folder):
    """One case of every fate, the failed one last; MNIST is damaged and CIFAR-10 absent."""
    data = folder / "data" / "mnist"
    data.mkdir(parents=True)
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        (data / name).write_bytes(b"this is no gzip file")
    suite = write_suite(folder / "mixed.yaml", ENERGY, ON_MNIST, ON_CIFAR10, UNFINISHED)
    return pcbench("run", suite, "--json", folder / "mixed.json", PCBENCH_DATA=data.parent)


@pytest.fixture
def mixed_cases(mixed, folder):
    return {case.id: case for case in read_report(folder / "mixed.json").cases}


def rows_of(done):
    """Return the rows of the table of cases: identifier and words."""
    lines = done.stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("case "))
    table = lines[start + 2 : lines.index("", start)]
    return [line.split() for line in table if not line.startswith((" ", "A case that passed"))]


def test_a_run_in_which_all_passes_exits_with_0(passing):
    assert passing.returncode == 0, passing.stderr
    assert passing.stdout.splitlines()[-1].startswith("2 passed, 0 failed, 0 errored, 0 skipped")


def test_the_report_names_the_command_line_and_nothing_more(passing, folder):
    assert passing.returncode == 0
    files = [str(folder / name) for name in ("passing.yaml", "passing.json")]
    command = read_report(folder / "passing.json").environment.command
    assert command == shlex.join(["pcbench", "run", files[0], "--json", files[1]])


def test_an_errored_case_outweighs_a_failed_one_and_the_rest_still_runs(mixed, mixed_cases):
    assert mixed.returncode == 3, mixed.stderr
    assert {name: case.status for name, case in mixed_cases.items()} == {
        "energy": "passed",
        "on-mnist": "errored",
        "on-cifar10": "skipped",
        "unfinished": "failed",
    }


def test_the_report_is_valid_by_the_schema_that_is_published(passing, mixed, folder):
    schema = json.loads(pcbench("schema", "report").stdout)
    for name in ("passing", "mixed"):
        document = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(schema).validate(document)
        assert len(document["cases"]) == sum(document["summary"].values()) > 0


def test_a_pipe_gets_no_control_codes(passing, mixed):
    for text in (passing.stdout, passing.stderr, mixed.stdout, mixed.stderr):
        assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}


def test_a_pipe_gets_a_name_whole_however_long_it_is(passing):
    assert [row[0] for row in rows_of(passing)] == ["energy", LONG_NAME]


def test_the_table_has_failures_first(mixed):
    fates = {word for row in rows_of(mixed) for word in row} & {"passed", "failed", "errored"}
    assert fates == {"passed", "failed", "errored"}
    assert [row[0] for row in rows_of(mixed)] == ["unfinished", "on-mnist", "energy"]


def test_each_failure_is_explained_in_a_sentence(mixed, mixed_cases):
    [reason] = [
        check.explanation
        for check in mixed_cases["unfinished"].checks
        if check.name == "hidden residual"
    ]
    assert reason.startswith("hidden residual: ")
    assert (
        "the budget of inference (max_steps 1) was spent before the residual was reached" in reason
    )
    assert "and 1e-06 was asked for" in reason
    assert f"\n         {reason}\n" in mixed.stdout


def test_each_failure_is_explained_once(mixed, mixed_cases):
    for check in mixed_cases["unfinished"].checks:
        if not check.passed:
            assert mixed.stdout.count(check.explanation) == 1


def test_damaged_data_are_named_and_absent_data_come_with_the_remedy(mixed, mixed_cases):
    assert "train-images-idx3-ubyte.gz is not a sound gzip file" in mixed_cases["on-mnist"].message
    assert "set PCBENCH_DATA to a directory that holds" in mixed_cases["on-cifar10"].message
    for name in ("on-mnist", "on-cifar10"):
        assert mixed_cases[name].message in mixed.stdout


def test_progress_goes_to_standard_error_with_the_reason_where_a_case_does_not_pass(mixed):
    lines = mixed.stderr.splitlines()
    assert [line.rpartition(" (")[0] for line in lines if line.startswith("[")] == [
        "[1/4] passed energy",
        "[2/4] errored on-mnist",
        "[3/4] skipped on-cifar10",
        "[4/4] failed unfinished",
    ]
    assert "train-images-idx3-ubyte.gz is not a sound gzip file" in lines[2]
    assert len(lines) == 6
