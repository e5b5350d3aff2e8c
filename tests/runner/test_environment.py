"""What a report says of where it was made."""

import os
import platform
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from pcbench import __version__
from pcbench.runner import environment, run_suites
from pcbench.suite import Suite
from tests.runner.scripted_cases import PASSED, planned, yielding


def test_the_environment_has_versions_and_machine(run):
    found = run(planned(yielding(PASSED))).environment
    assert (found.pcbench, found.python) == (__version__, platform.python_version())
    assert found.packages["numpy"] == np.__version__
    assert "torch" in found.packages
    assert found.processor
    assert found.cores >= 1


@pytest.mark.usefixtures("backend")
def test_every_case_names_the_suite_that_it_is_from():
    suites = [
        Suite(name, "", (planned(yielding(PASSED)),), Path(f"{name}.yaml")) for name in ("a", "b")
    ]
    assert [case.suite for case in run_suites(suites).cases] == ["a", "b"]


def test_the_load_is_that_of_before_the_run(run, monkeypatch):
    loads = iter([(1.5, 0, 0), (9.0, 0, 0)])
    monkeypatch.setattr(os, "getloadavg", lambda: next(loads), raising=False)
    assert run(planned(yielding(PASSED))).environment.load == 1.5


def test_a_system_that_tells_no_load_leaves_it_out(monkeypatch):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert environment.machine_load() is None


def test_the_commit_is_that_of_a_checkout_and_of_nothing_else(tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert environment.commit(tmp_path) == ""
    git("init")
    (tmp_path / "file").write_text("as committed")
    git("add", "file")
    git("commit", "-m", "first")
    assert environment.commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "file").write_text("changed")
    assert environment.commit(tmp_path) == git("rev-parse", "HEAD") + "-dirty"
    within = tmp_path / "site-packages"
    within.mkdir()
    assert environment.commit(within) == ""


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    assert set(environment.describe_environment({}).packages) == {"numpy"}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert environment.cores() == 3


def test_a_report_knows_when_it_was_made_and_how_long_it_took(run):
    report = run(planned(yielding(PASSED)))
    created = datetime.fromisoformat(report.created)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
    assert report.duration_s >= report.cases[0].duration_s >= 0


def test_numpy_keeps_to_one_thread_during_a_run_and_only_then(run):
    np.ones((2, 2)) @ np.ones((2, 2))  # load the library

    def threads():
        pools = threadpoolctl.threadpool_info()
        return {pool["num_threads"] for pool in pools if pool["internal_api"] == "openblas"}

    def run_case(_):
        during.update(threads())
        yield PASSED

    if not threads():
        pytest.skip("this NumPy is not built with OpenBLAS")
    during = set()
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert threads() == {2}
        run(planned(run_case))
        assert during == {1}
        assert threads() == {2}
