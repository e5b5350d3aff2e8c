"""Conformance alone catches faults of shapes and precisions, in cases that are there for them."""

import pytest

import pcbench
from pcbench.audit.faults.networks import SHAPES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("timed_twice", "without_shapes")]

ASKED = {
    "many-samples or wide or deep or tiny-weights or large-weights": {
        fault.__name__ for fault in SHAPES
    },
    "precision or precision-inference or precision-training or precision-hessian": {
        "EnergyHessianSeesUnobserved",
        "HessianPrecisionAtMostOne",
        "InferencePrecisionAtMostOne",
        "LossOverObservedSamples",
        "PrecisionAtMostOne",
        "SmallPrecisionIsNone",
        "TrainingPrecisionAtMostOne",
    },
}


@pytest.mark.parametrize(("cases", "names"), ASKED.items(), ids=["shapes", "precisions"])
def test_every_fault_is_caught(cases, names):
    audit = pcbench.audit_suites(
        "conformance",
        select=f"({cases}) and dtype=float64",
        faults=" or ".join(sorted(names)),
    )
    caught = {fault.name for fault in audit.faults if fault.outcome == "caught"}
    assert names - caught == set()
