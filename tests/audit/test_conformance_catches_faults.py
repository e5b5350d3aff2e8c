"""Conformance alone catches faults of shapes and precisions, in cases that are there for them."""

import pytest

import pcbench
from pcbench.audit.faults import precisions, shapes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("timed_twice", "without_shapes")]

ASKED = {
    shapes: "many-samples or wide or deep or tiny-weights or large-weights",
    precisions: "precision or precision-inference or precision-training or precision-hessian",
}


@pytest.mark.parametrize("faults", ASKED, ids=["shapes", "precisions"])
def test_every_fault_is_caught(faults):
    names = {fault.__name__ for fault in faults.FAULTS}
    audit = pcbench.audit_suites(
        "conformance",
        select=f"({ASKED[faults]}) and dtype=float64",
        faults=" or ".join(sorted(names)),
    )
    caught = {fault.name for fault in audit.faults if fault.outcome == "caught"}
    assert names - caught == set()
