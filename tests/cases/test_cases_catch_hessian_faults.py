"""The suites of curvature pass a correct backend, and fail every faulty one."""

from functools import cache
from unittest.mock import patch

import numpy as np
import pytest

from pcbench.judges import saddle
from pcbench.runner import run_suites
from pcbench.spectra import Krylov
from pcbench.suite import load_suites
from tests.cases.faulty.hessians import HESSIAN_FAULTS
from tests.helpers.plugged_in import plugged_in

pytestmark = pytest.mark.usefixtures("timed_twice", "without_shapes")

# One case of every sort; all that differ are sizes.
CURVATURE = (
    "(anywhere and convention=post and bias=true and tanh and not anywhere-else) "
    "or (origin and tanh and convention=pre and widths=10) "
    "or (origin-one-sided and data=mnist1d)"
)
SADDLES = "origin-during-inference[widths=4x4x4] or (saddle-during and zero_rank)"
SMALLER = [
    "data.samples=4",
    "during.steps=[0, 2, 5]",
    "network.widths=[3, 3]",
    "probes=2",
    "density_steps=10",
]
LARGE = "origin-wide or (saddle-large and width=100 and zero_rank)"
SMALL = ["network.width=4", "data.samples=8"]


@cache
def verdict(backend, dtype):
    chosen = [f"backend={backend}", f"dtype={dtype}"]
    report = run_suites(
        [
            *load_suites(["curvature"], overrides=[*SMALLER, *chosen], select=CURVATURE),
            *load_suites(["zero_rank_saddles"], overrides=chosen, select=SADDLES),
        ]
    )
    # What is too large to be written down, made small: the ends of the spectrum are asked for.
    with patch.object(saddle, "MAX_PARAMETERS", 10):
        ends = run_suites(
            load_suites(["zero_rank_saddles"], overrides=[*SMALL, *chosen], select=LARGE)
        )
    return [*report.cases, *ends.cases]


@pytest.fixture(scope="module", autouse=True)
def _faulty_backends_registered():
    with plugged_in(HESSIAN_FAULTS):
        yield


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_correct_backend_passes(dtype):
    messages = {
        case.id: case.message for case in verdict("torch", dtype) if case.status != "passed"
    }
    assert messages == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", HESSIAN_FAULTS)
def test_a_faulty_backend_fails(name):
    cases = verdict(name, "float64")
    assert [case.message for case in cases if case.status == "errored"] == []
    assert any(case.status == "failed" for case in cases)


@pytest.mark.slow
def test_every_check_is_failed_by_some_fault():
    made = {check.name for case in verdict("torch", "float64") for check in case.checks}
    failed = {
        check.name
        for name in HESSIAN_FAULTS
        for case in verdict(name, "float64")
        for check in case.checks
        if not check.passed
    }
    # What inference says of itself is failed by faulty engines; eigenvectors that are alike come
    # from a faulty iteration, below.
    here = {name for name in made if not name.startswith(("inference: ", "different eigen"))}
    assert here - failed == set()


def test_ghosts_are_told_from_multiple_eigenvalues():
    def sloppy(self, image):
        return image, float(np.linalg.norm(image))

    with patch.object(Krylov, "_orthogonal", sloppy):
        (case,) = run_suites(
            load_suites(
                ["curvature"],
                overrides=["relative=1e-14", "eigenvalues=6", "network.widths=[12]", "probes=0"],
                select="anywhere and tanh and convention=post and bias=true and not anywhere-else",
            )
        ).cases
    failed = {check.name for check in case.checks if not check.passed}
    assert {"different eigenvectors of the loss", "different eigenvectors of the energy"} <= failed
