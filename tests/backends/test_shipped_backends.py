"""Backends that come with pcbench bear the theory out and keep their contract: whole suites."""

import json
import os

import pytest

from tests.helpers.command_line import pcbench

IMAGES = {name: os.environ[name] for name in ["PCBENCH_DATA"] if name in os.environ}
LIMIT_S = 1800

slow, release = pytest.mark.slow, pytest.mark.release


# With what stands in the names of those cases that the backend has to leave to others.
@pytest.mark.parametrize(
    ("suite", "backend", "options", "lacking"),
    [
        pytest.param("conformance", "torch", [], None, marks=slow),
        pytest.param("theory", "numpy", [], None, marks=slow),
        pytest.param("conformance", "numpy", [], "dtype=float32", marks=slow),
        pytest.param("conformance", "jax", [], "engine=ode", marks=release),
        pytest.param("theory", "jax", [], "engine=ode", marks=release),
        pytest.param("theory", "jax", ["--dtype", "float32"], "engine=ode", marks=release),
    ],
)
def test_a_suite_passes_whole(tmp_path, suite, backend, options, lacking):
    pytest.importorskip(backend)
    report = tmp_path / "report.json"
    run = ["run", suite, "--backend", backend, *options, "--json", report]
    done = pcbench(*run, timeout=LIMIT_S, **IMAGES)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads(report.read_text())["cases"]
    if not IMAGES:
        cases = [case for case in cases if "is not on this machine" not in case["message"]]
    expected = {
        case["id"]: "skipped" if lacking is not None and lacking in case["id"] else "passed"
        for case in cases
    }
    assert {case["id"]: case["status"] for case in cases} == expected
    assert "passed" in expected.values()
