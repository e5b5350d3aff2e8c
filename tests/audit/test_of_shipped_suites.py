"""What the shipped suites claim to judge, they judge; and together, every fault there is."""

import pytest

import pcbench
from pcbench.audit import load_faults
from pcbench.suite import load_suites, shipped_suites

pytestmark = pytest.mark.usefixtures("timed_twice", "without_shapes")

# Of every sort of question the cheapest cases, where what is claimed shows already.
CHEAP = {
    "theory": (
        "equilibrated-energy[data=toy_gaussian,hidden_layers=2] or origin-2d or "
        "gradient-inference[data=toy_gaussian,hidden_layers=1] or "
        "engines[engine=gauss_newton,hidden_layers=2]"
    ),
    "inference": "contraction[hidden_layers=2,width=20] or contraction[hidden_layers=5,width=20] "
    "or usual[activation=tanh]",
}


def uncaught(audit, *, claimed=True):
    return {
        f"{fault.name}: {fault.outcome} {fault.message}"
        for fault in audit.faults
        if fault.outcome != "caught" and (fault.claimed or not claimed)
    }


def test_what_a_suite_claims_is_caught_by_a_few_of_its_cases():
    audit = pcbench.audit_suites("theory", select=CHEAP["theory"], settings={"training.steps": 1})
    assert uncaught(audit) == set()
    assert audit.score.caught >= 60


def test_what_the_suite_of_inference_claims_is_caught_by_a_few_of_its_cases():
    audit = pcbench.audit_suites(
        "inference",
        select=CHEAP["inference"],
        settings={"data.samples": 16},
        faults="inference_path or inference_account",
    )
    assert uncaught(audit) == set()
    assert audit.score.caught == len(audit.faults) >= 8


def test_conformance_alone_catches_what_ties_a_sample_to_its_batch():
    audit = pcbench.audit_suites(
        "conformance",
        select="gauss-newton and float64",
        settings={"networks": 4},
        faults="OutputMean or BatchMeanMixedIn",
    )
    assert len(audit.faults) == 3
    assert uncaught(audit, claimed=False) == set()


@pytest.mark.parametrize("name", ["theory", "inference"])
def test_a_shipped_suite_claims_parts_that_have_faults(name):
    [suite] = load_suites([name])
    parts = {fault.part for fault in load_faults()}
    assert suite.covers
    assert parts.issuperset(suite.covers)


@pytest.mark.slow
def test_the_theory_catches_every_fault_in_its_remit():
    # Two steps of training stand for a hundred; whatever they leave open, no fault may survive.
    audit = pcbench.audit_suites("theory", settings={"training.steps": 2})
    assert uncaught(audit) == set()
    assert audit.exit_code == 0


@pytest.mark.release
def test_together_the_suites_catch_every_fault_there_is():
    audit = pcbench.audit_suites(*shipped_suites())
    assert uncaught(audit, claimed=False) == set()
    assert len(audit.faults) == len(load_faults())
