"""Shapes in annotations are executed: jaxtyping's are checked wherever the package has arrays."""

import os

import pytest
from jaxtyping import config, install_import_hook

ROOMS_WITH_ARRAYS = [
    "theory",
    "networks",
    "data",
    "contract",
    "backends",
    "spectra",
    "statistics",
    "case",
    "judges",
    "cases",
    "audit",
]

if "PYTEST_XDIST_WORKER" in os.environ:
    # A process a core: threads of one would wait for cores that another has. Read when torch loads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before any test imports the package, or the modules imported first would escape the hook.
install_import_hook([f"pcbench.{room}" for room in ROOMS_WITH_ARRAYS], "beartype.beartype")

from pcbench.runner import context  # noqa: E402 - after the hook


@pytest.fixture(scope="module")
def timed_twice():
    """Take two samples of every timing: no verdict depends on them, and they take a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "MIN_SAMPLES", 2)
        patch.setattr(context, "BUDGET_S", 0.0)
        yield


@pytest.fixture(scope="module")
def without_shapes():
    """Leave shapes unchecked where only verdicts matter: the checks take ten times what they check.

    Every kind of case is run with them as well (tests/test_shipped_suites.py).
    """
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
