"""Ctrl-C keeps what is finished."""

import signal
import subprocess

import pytest

from pcbench.report import read_report
from tests.helpers.command_line import PCBENCH, environment
from tests.helpers.interruptions import interruptible
from tests.helpers.toy_suites import ENERGY, UNFINISHED, write_suite

ENDLESS = UNFINISHED.replace(
    "max_steps: 1, residual: 1e-6", "max_steps: 1000000000, residual: 1e-300"
)


ENDINGS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def run_until_the_second_case(file, *options):
    """Start a run whose second case of three never ends; return it once the first is done."""
    last = ENERGY.replace("id: energy", "id: never-reached")
    suite = write_suite(file.with_name("suite.yaml"), ENERGY, ENDLESS, last)
    process = subprocess.Popen(
        [*PCBENCH, "run", str(suite), "--json", str(file), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(PYTHONFAULTHANDLER=1),
    )
    first = process.stderr.readline()
    assert first.startswith("[1/3] passed energy"), first
    return process


def end(process):
    """Return what a process printed until it ended, which it has to do soon."""
    try:
        return process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # the fault handler says where it hangs
        out, err = process.communicate()
        pytest.fail(f"it did not end within 60 s of the signal:\n{out}\n{err}")
    finally:
        process.kill()


@pytest.fixture(
    scope="module",
    params=[(*ending, *where) for ending in ENDINGS for where in ([], ["--in-process"])],
    ids=lambda param: " ".join([param[0].name, *param[2:]]),
)
def interrupted(request, tmp_path_factory):
    """A run that is interrupted in its second case: its exit code, output, errors and report."""
    ending, code, *where = request.param
    file = tmp_path_factory.mktemp("interrupt") / "report.json"
    with interruptible(), run_until_the_second_case(file, *where) as process:
        process.send_signal(ending)
        out, err = end(process)
    assert process.returncode == code
    return out, err, file


def test_it_ends_without_a_traceback(interrupted):
    _, err, _ = interrupted
    assert err == ""


def test_the_report_holds_the_finished_cases_and_says_interrupted(interrupted):
    *_, file = interrupted
    report = read_report(file)
    assert report.interrupted
    assert [(case.id, case.status) for case in report.cases] == [("energy", "passed")]
    assert (report.summary.passed, report.summary.failed) == (1, 0)


def test_the_table_is_printed_and_says_so_too(interrupted):
    out, *_ = interrupted
    assert out.splitlines()[-1].startswith("1 passed")
    assert "interrupted, the cases after these did not run" in out.splitlines()[-1]


def test_the_journal_is_kept_to_go_on_with(interrupted):
    *_, file = interrupted
    assert file.with_name("report.json.journal").read_text().count("\n") == 2


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    file = tmp_path / "report.json"
    with run_until_the_second_case(file) as process:
        process.kill()
        process.communicate()
    assert not file.exists()
    suite = file.with_name("suite.yaml")
    with subprocess.Popen(
        [*PCBENCH, "run", str(suite), "--json", str(file), "--resume", "--timeout", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
    ) as process:
        end(process)
    fates = {case.id: case.status for case in read_report(file).cases}
    assert fates == {"energy": "passed", "unfinished": "timeout", "never-reached": "passed"}
    assert not file.with_name("report.json.journal").exists()


def test_an_interrupt_before_the_run_has_the_same_exit_code(invoke, suite, monkeypatch):
    def load_suites(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pcbench.api.load_suites", load_suites)
    done = invoke("run", suite)
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err
