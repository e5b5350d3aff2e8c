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


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("interrupt") / "report.json"


@pytest.fixture(scope="module")
def interrupted(file):
    """A run that is interrupted in its second case of three: exit code, output, errors."""
    last = ENERGY.replace("id: energy", "id: never-reached")
    suite = write_suite(file.with_name("suite.yaml"), ENERGY, ENDLESS, last)
    command = [*PCBENCH, "run", str(suite), "--json", str(file)]
    with (
        interruptible(),
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment(PYTHONFAULTHANDLER=1),
        ) as process,
    ):
        try:
            first = process.stderr.readline()
            assert first.startswith("[1/3] passed energy"), first
            process.send_signal(signal.SIGINT)
            try:
                out, err = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # the fault handler says where it hangs
                out, err = process.communicate()
                pytest.fail(f"it did not end within 60 s of the interrupt:\n{out}\n{err}")
        finally:
            process.kill()
    return process.returncode, out, err


def test_it_exits_with_130_and_without_a_traceback(interrupted):
    code, _, err = interrupted
    assert code == 130
    assert err == ""


def test_the_report_holds_the_finished_cases_and_says_interrupted(interrupted, file):
    report = read_report(file)
    assert report.interrupted
    assert [(case.id, case.status) for case in report.cases] == [("energy", "passed")]
    assert (report.summary.passed, report.summary.failed) == (1, 0)


def test_the_table_is_printed_and_says_so_too(interrupted):
    _, out, _ = interrupted
    assert out.splitlines()[-1].startswith("1 passed")
    assert "interrupted, the cases after these did not run" in out.splitlines()[-1]


def test_an_interrupt_before_the_run_has_the_same_exit_code(invoke, suite, monkeypatch):
    def load_suites(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pcbench.api.load_suites", load_suites)
    done = invoke("run", suite)
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err
