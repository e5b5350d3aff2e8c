"""What a report says of where it was made."""

import os
import platform
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import threadpoolctl
from scripted_cases import PASSED, planned, yielding

from pcbench import __version__
from pcbench.runner import environment


def test_the_environment_has_versions_and_machine(run):
    found = run(planned(yielding(PASSED))).environment
    assert (found.pcbench, found.python) == (__version__, platform.python_version())
    assert found.packages["numpy"] == np.__version__
    assert "torch" in found.packages
    assert found.processor
    assert found.cores >= 1


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
