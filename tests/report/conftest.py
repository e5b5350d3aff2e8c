import pytest

from pcbench.checks import Tolerance, all_passed, approx, within
from pcbench.report import CaseResult, Environment, Report, Timing


@pytest.fixture
def make_case():
    """Return a function that makes a case; each keyword replaces a field."""

    def make(identifier="energy[hidden_layers=5,data=mnist1d]", checks=None, **fields):
        tolerance = Tolerance(1e-12, "64 · eps · κ(S)")
        if checks is None:
            checks = [
                approx("energy", 0.25, 0.25, tolerance, source="Theorem 1"),
                within("rate", 0.5999, (0.4, 0.6), Tolerance(1e-3, "99 %"), source="section 4"),
            ]
        defaults = {
            "id": identifier,
            "kind": "equilibrated_energy",
            "parameters": {
                "data": {"name": "mnist1d", "samples": 64},
                "network": {"hidden_layers": 5, "width": 300, "activation": "identity"},
            },
            "backend": "torch",
            "device": "cpu",
            "dtype": "float64",
            "seed": 0,
            "status": "passed" if all_passed(checks) else "failed",
            "checks": checks,
            "timings": [Timing.of("inference", [0.001, 0.002, 0.004])],
            "series": {"energy": {"step": [0.0, 1.0], "value": [1.0, float("nan")]}},
            "duration_s": 0.41,
        }
        return CaseResult(**{**defaults, **fields})

    return make


@pytest.fixture
def make_report():
    def make(*cases, **fields):
        environment = Environment(
            pcbench="0.1.0",
            python="3.11.9",
            platform="Linux",
            processor="x86_64",
            cores=2,
            packages={"torch": "2.5.0"},
        )
        defaults = {
            "suite": "theory",
            "created": "2025-03-01T12:00:00Z",
            "environment": environment,
            "summary": Report.summarise(list(cases)),
            "cases": list(cases),
        }
        return Report(**{**defaults, **fields})

    return make
