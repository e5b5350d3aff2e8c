import pytest

from pcbench.data import Places
from pcbench.registry import BACKENDS
from pcbench.runner import run_suites
from tests.runner.scripted_cases import RememberingBackend, suite_of


@pytest.fixture
def backend(monkeypatch):
    """A backend of the name that planned cases ask for."""
    remembering = type("Remembering", (RememberingBackend,), {"calls": []})
    monkeypatch.setitem(BACKENDS._added, "remembering", remembering)
    return remembering


@pytest.fixture
def places(tmp_path):
    """One empty data directory."""
    (tmp_path / "data").mkdir()
    return Places((tmp_path / "data",), tmp_path / "cache")


@pytest.fixture
def run(backend, places):
    """Run planned cases as one suite."""

    def run(*cases, **options):
        return run_suites([suite_of(*cases)], places=places, **options)

    return run


@pytest.fixture
def run_one(run):
    """Run one planned case and return its result."""

    def run_one(case):
        [result] = run(case).cases
        return result

    return run_one
