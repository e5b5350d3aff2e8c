"""What becomes of faults, what that says of a suite, and what is no audit at all."""

import json

import jsonschema
import pytest

from pcbench.audit import (
    AuditObserver,
    IncorrectBackendError,
    audit_schema,
    audit_suites,
    load_faults,
    run,
)
from pcbench.audit.catalogue import put
from pcbench.backends.torch import TorchBackend
from pcbench.data import Places
from pcbench.suite import load_suites
from tests.audit.audit_faults import (
    Breaks,
    DoubledLoss,
    HalfOfTheSamples,
    Harmless,
    MiscountedPasses,
    OnlyWithAMask,
    OnlyWithBiases,
    Refuses,
    audited,
    suite,
)
from tests.helpers.plugged_in import plugged_in
from tests.helpers.toy_suites import ENERGY, ON_MNIST, ORIGIN, UNFINISHED

GAUSS_NEWTON = ENERGY.replace("id: energy", "id: newton").replace(
    "training:", "inference: {engine: gauss_newton}, training:"
)


def outcome(audit, name):
    [result] = [fault for fault in audit.faults if fault.name == name]
    return result


@pytest.mark.parametrize(
    ("mistaken", "became", "check", "case"),
    [
        (DoubledLoss, "caught", "loss", "energy"),
        (HalfOfTheSamples, "caught", None, None),
        (Harmless, "no difference", "", ""),
        (MiscountedPasses, "survived", "", ""),
        (Breaks, "crashed", "", "energy"),
        (OnlyWithAMask, "not met", "", ""),
        (OnlyWithBiases, "not met", "", ""),
    ],
)
def test_what_becomes_of_a_fault(tmp_path, mistaken, became, check, case):
    [result] = audited(tmp_path, mistaken).faults
    assert result.outcome == became
    if check is not None:
        assert (result.check, result.case) == (check, case)
    assert bool(result.message) == (became in ("caught", "crashed"))
    assert result.exercised == (became in ("caught", "survived", "crashed"))


def test_a_crash_is_not_a_catch_and_says_what_broke(tmp_path):
    [result] = audited(tmp_path, Breaks).faults
    assert result.message == "RuntimeError: shapes do not fit"
    assert result.cases == 1  # no other case asks for a prediction


def test_what_a_backend_refuses_under_a_fault_catches_nothing(tmp_path):
    [result] = audited(tmp_path, Refuses).faults
    assert result.outcome == "survived"


def test_a_fault_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "PATIENCE_S", 0.0)
    monkeypatch.setattr(run, "PATIENCE", 0.0)
    [result] = audited(tmp_path, DoubledLoss).faults
    assert (result.outcome, result.check) == ("out of time", "")
    assert result.exercised


def test_cases_that_cannot_meet_a_fault_are_not_run_with_it(tmp_path):
    [result] = audited(tmp_path, MiscountedPasses).faults
    assert result.cases == 2
    [result] = audited(tmp_path, Harmless).faults
    assert result.cases == 1  # the case at the origin asks for no loss


def test_the_cheapest_case_comes_first_and_the_first_failure_ends_the_trial(tmp_path):
    dear = ENERGY.replace("id: energy", "id: dear").replace("steps: 2", "steps: 60")
    audit = audited(tmp_path, DoubledLoss, cases=(dear, ENERGY))
    assert [case.id for case in audit.cases] == ["energy", "dear"]
    assert (audit.faults[0].case, audit.faults[0].cases) == ("energy", 1)


# What it says of a suite


def test_a_suite_that_does_not_say_claims_all_that_changes_an_answer(tmp_path):
    audit = audited(tmp_path, DoubledLoss, MiscountedPasses, Harmless, OnlyWithBiases)
    assert audit.covers is None
    assert [fault.claimed for fault in audit.faults] == [True, True, False, False]
    assert (audit.refuting, audit.exit_code) == (["MiscountedPasses"], 1)


def test_a_suite_is_taken_at_its_word(tmp_path):
    audit = audited(tmp_path, DoubledLoss, MiscountedPasses, OnlyWithBiases, covers=["loss"])
    assert [fault.claimed for fault in audit.faults] == [True, False, False]
    assert (audit.refuting, audit.exit_code) == ([], 0)


@pytest.mark.parametrize(
    ("mistaken", "part"),
    [
        (MiscountedPasses, "inference_account"),
        (Breaks, "prediction"),
        (Harmless, "loss"),
        (OnlyWithBiases, "biases"),
    ],
)
def test_a_claim_is_refuted_by_whatever_is_not_caught(tmp_path, mistaken, part):
    audit = audited(tmp_path, mistaken, covers=[part])
    assert (audit.refuting, audit.exit_code) == ([mistaken.__name__], 1)


@pytest.mark.parametrize("mistaken", [Harmless, OnlyWithBiases])
def test_what_a_part_of_a_suite_does_not_meet_refutes_nothing(tmp_path, mistaken):
    covers = ["loss", "biases"]
    audit = audited(tmp_path, mistaken, covers=covers, narrowed=True)
    assert (audit.narrowed, audit.refuting, audit.exit_code) == (True, [], 0)
    assert audited(tmp_path, MiscountedPasses, narrowed=True).exit_code == 1


def trial_of(plan, faults, tmp_path):
    return audit_suites(plan, faults, places=Places((), tmp_path))


def test_a_case_that_was_skipped_leaves_claims_open(tmp_path):
    plan = load_suites([suite(tmp_path, ENERGY, ON_MNIST, covers=["biases"])])
    faults = [fault for fault in load_faults() if fault.name == "BiasesIgnored"]
    audit = trial_of(plan, faults, tmp_path)
    assert [case.status for case in audit.cases] == ["passed", "skipped"]
    assert (audit.narrowed, audit.exit_code) == (True, 0)


def test_suites_are_audited_together_as_one(tmp_path):
    one = suite(tmp_path, ENERGY, covers=["loss"], name="one")
    other = suite(tmp_path, ORIGIN, covers=["energy_hessian", "loss"], name="other")
    faults = [fault for fault in load_faults() if fault.part in ("loss", "energy_hessian")]
    audit = trial_of(load_suites([one, other]), faults, tmp_path)
    assert audit.covers == ["loss", "energy_hessian"]
    assert audit.suite == "one + other"
    found = {fault.name: fault.case for fault in audit.faults}
    assert found["LossSummed"] == "energy"
    assert found["NoNegativeCurvature"] == "origin"
    assert audit.exit_code == 0


def test_the_score_counts_what_changed_an_answer(tmp_path):
    audit = audited(tmp_path, DoubledLoss, MiscountedPasses, Harmless, OnlyWithBiases)
    score = audit.score
    assert (score.caught, score.exercised, score.catalogue) == (1, 2, 4)


def verdicts(audit):
    return [(fault.name, fault.outcome, fault.check, fault.message) for fault in audit.faults]


# One case: which of several comes first, and with it the check, goes by what they took.
@pytest.mark.parametrize("case", [ENERGY, GAUSS_NEWTON], ids=["energy", "gauss-newton"])
def test_an_audit_comes_out_the_same_every_time(tmp_path, case):
    mistaken = (DoubledLoss, HalfOfTheSamples, MiscountedPasses)
    one, other = (audited(tmp_path, *mistaken, cases=(case,)) for _ in range(2))
    assert verdicts(one) == verdicts(other)


def test_which_of_several_cases_comes_first_changes_no_outcome(tmp_path):
    mistaken = (DoubledLoss, HalfOfTheSamples, MiscountedPasses)
    one, other = (
        {fault.name: fault.outcome for fault in audited(tmp_path, *mistaken, cases=cases).faults}
        for cases in ((ENERGY, GAUSS_NEWTON), (GAUSS_NEWTON, ENERGY))
    )
    assert one == other


# What is no audit


def test_a_backend_that_fails_as_it_is_is_refused(tmp_path):
    with pytest.raises(IncorrectBackendError, match=r"has failed the case unfinished as it is.*-k"):
        audited(tmp_path, DoubledLoss, cases=(ENERGY, UNFINISHED))


def test_a_faulty_backend_is_no_correct_one(tmp_path):
    class Doubled(TorchBackend):
        def build(self, network, parameters):
            return put(DoubledLoss, TorchBackend()).build(network, parameters)

    with (
        plugged_in({"doubled": Doubled}),
        pytest.raises(IncorrectBackendError, match="'doubled' has failed the case energy as it is"),
    ):
        audited(tmp_path, Harmless, cases=(ENERGY.replace("kind:", "backend: doubled, kind:"),))


def test_where_every_case_is_skipped_there_is_nothing_to_audit(tmp_path):
    plan = load_suites([suite(tmp_path, ON_MNIST)])
    with pytest.raises(IncorrectBackendError, match=r"every case was skipped.*mnist is not on"):
        trial_of(plan, load_faults(), tmp_path)


# Ctrl-C, and what is left


class Impatient(AuditObserver):
    def fault_started(self, fault):
        if fault.name == "MiscountedPasses":
            raise KeyboardInterrupt


def test_an_interrupt_keeps_what_is_done(tmp_path):
    audit = audited(tmp_path, DoubledLoss, MiscountedPasses, observer=Impatient())
    assert (audit.interrupted, audit.exit_code) == (True, 130)
    assert [fault.name for fault in audit.faults] == ["DoubledLoss"]


def test_the_document_satisfies_its_schema_and_is_strict_json(tmp_path):
    audit = audited(tmp_path, DoubledLoss, MiscountedPasses, Breaks, Harmless, OnlyWithBiases)

    def refuse(constant):
        raise ValueError(constant)

    document = json.loads(audit.model_dump_json(), parse_constant=refuse)
    jsonschema.Draft202012Validator(audit_schema()).validate(document)
    assert document["score"] == {"caught": 1, "exercised": 3, "catalogue": 5}
    assert document["refuting"] == ["MiscountedPasses", "Breaks"]
