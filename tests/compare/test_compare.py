import json
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings

import pcbench
from pcbench.checks import Check, undecided
from pcbench.claims import Claim
from pcbench.compare import compare
from pcbench.report import CaseResult, Environment, Report, Timing, read_report
from tests.compare.compare_strategies import reports
from tests.helpers.toy_suites import write_suite

# Of a backend whose energies were infinite, from before that was a malformed answer.
KEPT = Path(__file__).parent / "report_before_renames.json"
TINY = """{id: tiny, kind: equilibrium, data: {name: toy_gaussian, samples: 4},
  network: {hidden_layers: 1, width: 3}, engines: {newton: {engine: gauss_newton, residual: 1e-8}}}
"""


def check(name="energy", observed=0.5, expected=0.5, tolerance=0.1, status="passed", **fields):
    defaults = {
        "name": name,
        "status": status,
        "observed": observed,
        "relation": "≈",
        "expected": expected,
        "tolerance": tolerance,
        "derivation": "rounding",
        "margin": 1.0 if status == "passed" else -1.0,
        "source": "Theorem 1",
        "message": "" if status == "passed" else f"{name} is wrong.",
    }
    return Check(**{**defaults, **fields})


def claim(verdict="borne out", setting="matched", **fields):
    defaults = {
        "name": "PC is sooner",
        "setting": setting,
        "verdict": verdict,
        "low": 0.4,
        "estimate": 0.5,
        "high": 0.6 if verdict == "borne out" else None,
        "confidence": 0.95,
        "pairs": 6,
        "required": False,
        "source": "figure 2",
        "message": "" if verdict == "borne out" else "It is not.",
    }
    return Claim(**{**defaults, **fields})


def case(identifier="energy[width=3]", *checks, **fields):
    defaults = {
        "id": identifier,
        "kind": "equilibrated_energy",
        "parameters": {"network": {"hidden_layers": 5, "width": 300}, "steps": 10},
        "backend": "torch",
        "device": "cpu",
        "dtype": "float64",
        "seed": 0,
        "status": "passed" if all(check.passed for check in checks) else "failed",
        "checks": list(checks),
        "duration_s": 1.0,
    }
    return CaseResult(**{**defaults, **fields})


def report(*cases, packages=None, **fields):
    environment = Environment(
        pcbench="0.1.0",
        python="3.11",
        platform="Linux",
        processor="x86_64",
        cores=2,
        packages=packages or {"torch": "2.5"},
    )
    defaults = {
        "suite": "theory",
        "created": "2025-03-01T12:00:00Z",
        "environment": environment,
        "summary": Report.summarise(list(cases)),
        "cases": list(cases),
    }
    return Report(**{**defaults, **fields})


def changes(base, new):
    """Compare two lists of cases, and return ``(kind, effect)`` of every change."""
    found = compare(report(*base), report(*new))
    return [(change.kind, change.effect) for change in found.changes]


def only_change(base, new):
    [change] = compare(report(*base), report(*new)).changes
    return change


@given(same=reports())
@settings(max_examples=100, deadline=None)
def test_a_report_does_not_differ_from_itself(same):
    found = compare(same, same)
    assert found.changes == []
    assert not found.regression
    assert found.unchanged == found.compared == len(same.cases)


@given(base=reports(), new=reports())
@settings(max_examples=150, deadline=None)
def test_the_other_way_round_everything_is_seen_from_the_other_side(base, new):
    there, back = compare(base, new), compare(new, base)

    def seen(comparison, *kinds):
        return sorted(
            (change.case, change.check, change.effect)
            for change in comparison.changes
            if change.kind in kinds
        )

    # What has a direction turns round ...
    assert [entry[:2] for entry in seen(there, "case_added")] == (
        [entry[:2] for entry in seen(back, "case_removed")]
    )
    assert [entry[:2] for entry in seen(there, "check_added")] == (
        [entry[:2] for entry in seen(back, "check_removed")]
    )
    opposite = {"worse": "better", "better": "worse"}
    assert seen(there, "claim_verdict") == sorted(
        (case, claim, opposite.get(effect, effect))
        for case, claim, effect in seen(back, "claim_verdict")
    )
    for kind in ("case_verdict", "check_verdict"):
        verdicts = sorted(
            (change.case, change.check, change.base, change.new, change.effect)
            for change in there.changes
            if change.kind == kind
        )
        returned = sorted(
            (change.case, change.check, change.new, change.base, change.effect)
            for change in back.changes
            if change.kind == kind
        )
        assert [entry[:4] for entry in verdicts] == [entry[:4] for entry in returned]
        for (*_, effect), (*_, turned) in zip(verdicts, returned, strict=True):
            assert turned == "worse" or effect != "better"
    # ... and what has none is the same.
    kinds = ("observed_drifted", "expected_changed", "tolerance_changed", "parameters_changed")
    assert seen(there, *kinds) == seen(back, *kinds)


@given(base=reports(), new=reports())
@settings(max_examples=100, deadline=None)
def test_every_case_of_either_report_is_accounted_for(base, new):
    found = compare(base, new)
    kinds = [change.kind for change in found.changes]
    assert found.compared + kinds.count("case_removed") == len(base.cases)
    assert found.compared + kinds.count("case_added") == len(new.cases)
    effects = [change.effect for change in found.changes]
    assert effects == sorted(effects, key=["worse", "neutral", "better"].index)
    assert found.regression == ("worse" in effects)
    assert json.loads(found.model_dump_json())["regression"] == found.regression


def test_a_removed_case_is_worse():
    change = only_change([case("a"), case("b")], [case("b")])
    assert (change.kind, change.effect, change.case) == ("case_removed", "worse", "a")
    assert change.message == "is gone; it passed before."


@pytest.mark.parametrize(
    ("status", "effect"),
    [("passed", "neutral"), ("skipped", "neutral"), ("failed", "worse"), ("errored", "worse")],
)
def test_an_added_case_is_worse_only_if_it_does_not_pass(status, effect):
    change = only_change([], [case("a", status=status, message="because.")])
    assert (change.kind, change.effect) == ("case_added", effect)
    assert change.message.endswith(f"{status}: because.")


@pytest.mark.parametrize(
    ("base", "new", "effect"),
    [
        ("passed", "failed", "worse"),
        ("passed", "errored", "worse"),
        ("passed", "skipped", "worse"),
        ("failed", "passed", "better"),
        ("failed", "errored", "worse"),
        ("failed", "skipped", "worse"),
        ("errored", "passed", "better"),
        ("errored", "failed", "better"),
        ("errored", "skipped", "neutral"),
        ("skipped", "passed", "better"),
        ("skipped", "failed", "worse"),
        ("skipped", "errored", "worse"),
        ("passed", "undecided", "worse"),
        ("failed", "undecided", "worse"),
        ("errored", "undecided", "neutral"),
        ("skipped", "undecided", "neutral"),
        ("undecided", "passed", "better"),
        ("undecided", "failed", "worse"),
        ("undecided", "errored", "worse"),
        ("undecided", "skipped", "neutral"),
    ],
)
def test_a_changed_verdict_of_a_case(base, new, effect):
    change = only_change([case(status=base)], [case(status=new)])
    assert (change.kind, change.effect) == ("case_verdict", effect)
    assert (change.base, change.new) == (base, new)


def test_a_case_that_was_repeated_hides_nothing():
    base = [case("a", check()), case("a", check())]
    new = [case("a", check(status="failed")), case("a", check())]
    assert ("check_verdict", "worse") in changes(base, new)
    assert changes(base, base[:1]) == [("case_removed", "worse")]


def test_cases_of_two_suites_that_share_an_identifier_are_told_apart_in_any_order():
    fast, slow = Timing.of("inference", [1.0]), Timing.of("inference", [9.0])
    theory = case("a", check(observed=0.4), suite="theory", timings=[fast])
    escape = case("a", check(observed=0.6), suite="escape", device="cuda", timings=[slow])
    for base, new in permutations([report(theory, escape), report(escape, theory)]):
        found = compare(base, new)
        assert (found.changes, found.notes) == ([], [])
        assert found.unchanged == found.compared == 2
        assert all(timing.base == timing.new for timing in found.timings)
    gone = compare(report(theory, escape), report(escape))
    assert [(change.kind, change.suite, change.case) for change in gone.changes] == [
        ("case_removed", "theory", "a")
    ]


def test_against_a_report_that_does_not_name_suites_cases_are_paired_by_identifier():
    named = [case("a", check(), suite="theory"), case("b", check(), suite="escape")]
    older = [case("b", check()), case("a", check())]
    for base, new in permutations([report(*named), report(*older)]):
        found = compare(base, new)
        assert (found.changes, found.unchanged) == ([], 2)
    mixed = compare(report(*named), report(named[0], older[0]))
    assert (mixed.changes, mixed.unchanged) == ([], 2)


def test_a_changed_verdict_of_a_check_is_named_with_its_reason():
    base, new = case("a", check()), case("a", check(status="failed"), status="passed")
    change = only_change([base], [new])
    assert (change.kind, change.effect, change.check) == ("check_verdict", "worse", "energy")
    assert change.message == "passed before and failed now: energy is wrong."
    assert only_change([new], [base]).effect == "better"


def test_a_check_that_is_gone_is_worse_and_a_new_one_only_if_it_fails():
    few, many = case("a", check()), case("a", check(), check("rate"))
    broken = case("a", check(), check("rate", status="failed"), status="passed")
    assert changes([many], [few]) == [("check_removed", "worse")]
    assert changes([few], [many]) == [("check_added", "neutral")]
    assert changes([few], [broken]) == [("check_added", "worse")]


def test_a_check_that_can_no_longer_be_decided_is_a_verdict_lost():
    decided, open_ = check(), undecided("energy", "No bound.", source="Theorem 1")
    open_case = case("a", open_, status="passed")
    lost = compare(report(case("a", decided)), report(open_case))
    [change] = lost.changes
    assert (change.kind, change.effect) == ("check_verdict", "worse")
    assert change.message == "passed before and undecided now: No bound."
    won = compare(report(open_case), report(case("a", decided)))
    assert [change.effect for change in won.changes] == ["better"]
    still = compare(report(open_case), report(open_case))
    assert still.changes == []


def test_only_a_check_that_both_sides_decide_is_a_comparison():
    open_case = case("a", undecided("energy", "No bound.", source="Theorem 1"), status="passed")
    skipped = case("a", status="skipped", message="no data.")
    sound = case("a", check())
    for one, other, judged, code in (
        (sound, sound, 1, 0),
        (skipped, skipped, 0, 4),
        (open_case, open_case, 0, 4),
        (sound, skipped, 0, 1),
    ):
        found = compare(report(one), report(other))
        assert (found.judged, found.exit_code) == (judged, code)
    assert compare(report(), report()).exit_code == 4


def test_checks_that_an_errored_or_skipped_case_did_not_reach_are_not_listed_again():
    whole = case("a", check(), check("rate"))
    for status in ("errored", "skipped"):
        cut = case("a", check(), status=status)
        assert changes([whole], [cut]) == [("case_verdict", "worse")]
        assert changes([cut], [whole]) == [("case_verdict", "better")]


@pytest.mark.parametrize(
    ("base", "new", "effect"),
    [
        ("borne out", "not borne out", "worse"),
        ("borne out", "unresolved", "worse"),
        ("not borne out", "borne out", "better"),
        ("unresolved", "borne out", "better"),
        ("not borne out", "unresolved", "neutral"),
        ("unresolved", "not borne out", "neutral"),
    ],
)
def test_a_claim_that_is_no_longer_borne_out_is_worse(base, new, effect):
    sides = [
        [case("a", check(), claims=[claim(verdict), claim("unresolved", "published")])]
        for verdict in (base, new)
    ]
    change = only_change(*sides)
    assert (change.kind, change.effect, change.check) == (
        *("claim_verdict", effect, "PC is sooner (matched)"),
    )
    assert change.message.startswith(f"{base} before, at ")
    assert f"and {new} now, at " in change.message


def test_a_claim_that_is_gone_is_worse_and_a_new_one_is_no_news():
    with_claim, without = case("a", check(), claims=[claim()]), case("a", check())
    assert changes([with_claim], [without]) == [("claim_removed", "worse")]
    assert changes([without], [with_claim]) == []
    cut = case("a", check(), status="errored")
    assert changes([with_claim], [cut]) == [("case_verdict", "worse")]


def test_the_numbers_of_a_claim_are_not_compared():
    moved = claim(estimate=0.45, message="otherwise.")
    assert changes([case("a", claims=[claim()])], [case("a", claims=[moved])]) == []


def test_an_answer_that_moved_further_than_its_tolerance_is_worse_though_it_passes():
    base = [case("a", check(observed=0.45))]
    assert changes(base, [case("a", check(observed=0.54))]) == []
    change = only_change(base, [case("a", check(observed=0.56))])
    assert (change.kind, change.effect) == ("observed_drifted", "worse")
    assert (change.base, change.new) == (0.45, 0.56)
    assert change.message == (
        "passed both times, but moved from 0.45 to 0.56, 1.1 times the tolerance."
    )


def test_an_answer_may_move_by_the_larger_of_the_two_tolerances():
    base, new = case("a", check(observed=0.4)), case("a", check(observed=0.6, tolerance=0.3))
    assert changes([base], [new]) == [("tolerance_changed", "neutral")]
    assert changes([new], [base]) == [("tolerance_changed", "neutral")]


def test_a_failure_with_other_numbers_is_not_worse():
    base = case("a", check(observed=3.0, status="failed"))
    new = case("a", check(observed=4.0, status="failed"))
    assert changes([base], [new]) == [("observed_drifted", "neutral")]
    gone = case("a", check(observed=None, status="failed"))
    assert changes([base], [gone]) == [("observed_drifted", "neutral")]
    assert changes([gone], [gone]) == []


@pytest.mark.parametrize(
    "new",
    [
        check(expected=1.5),
        check(relation="≤"),
        check(relation="∈", expected=(0.4, 0.6)),
        check(expected=None),
    ],
)
def test_a_changed_demand_with_the_same_inputs_is_worse_and_reported_once(new):
    assert changes([case("a", check())], [case("a", new)]) == [("expected_changed", "worse")]


def test_a_changed_demand_that_the_answer_follows_is_neutral():
    base, new = case("a", check()), case("a", check(expected=1.5, observed=1.5))
    assert changes([base], [new]) == [("expected_changed", "neutral")]


def test_numbers_from_different_places_are_not_compared():
    base = case("a", check(where="entry (0, 1)"))
    assert changes([base], [case("a", check(where="entry (3, 4)", expected=9.0))]) == []


def test_a_changed_demand_on_another_device_is_neutral():
    base, new = case("a", check()), case("a", check(expected=1.5, observed=1.5), device="cuda")
    assert changes([base], [new]) == [("expected_changed", "neutral")]


def test_an_interval_is_compared_end_by_end():
    base = case("a", check(relation="∈", expected=(0.0, 1.0)))
    near = case("a", check(relation="∈", expected=(0.05, 1.0)))
    far = case("a", check(relation="∈", expected=(0.0, 1.5)))
    assert changes([base], [near]) == []
    assert changes([base], [far]) == [("expected_changed", "worse")]


def test_a_widened_tolerance_is_reported_and_its_rounding_is_not():
    base = [case("a", check())]
    assert changes(base, [case("a", check(tolerance=0.1 * (1 + 1e-9)))]) == []
    change = only_change(base, [case("a", check(tolerance=0.11))])
    assert (change.kind, change.effect) == ("tolerance_changed", "neutral")
    assert change.message == "has a wider tolerance: 0.1 before and 0.11 now, from rounding."


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"seed": 1}, "seed from 0 to 1"),
        ({"dtype": "float32"}, 'dtype from "float64" to "float32"'),
        ({"kind": "landscape"}, 'kind from "equilibrated_energy" to "landscape"'),
        (
            {"parameters": {"network": {"hidden_layers": 5, "width": 100}, "steps": 10}},
            "parameters.network.width from 300 to 100",
        ),
    ],
)
def test_with_other_inputs_the_numbers_are_not_compared_but_verdicts_are(fields, path):
    base = case("a", check())
    change = only_change([base], [case("a", check(observed=9.0, expected=9.0), **fields)])
    assert (change.kind, change.effect) == ("parameters_changed", "neutral")
    assert path in change.message
    worse = case("a", check(status="failed"), **fields)
    assert ("check_verdict", "worse") in changes([base], [worse])


def test_a_new_parameter_that_is_null_changes_no_inputs():
    base = case("a", check(), parameters={"steps": 10})
    new = case("a", check(), parameters={"steps": 10, "device": None})
    assert changes([base], [new]) == []
    assert changes([base], [case("a", check(), parameters={"steps": True})]) == [
        ("parameters_changed", "neutral")
    ]


def test_another_backend_or_device_is_compared_all_the_same_and_said():
    base = [case("a", check(observed=0.4)), case("b", check())]
    new = [case("a", check(observed=0.6), device="cuda"), case("b", check(), device="cuda")]
    found = compare(report(*base), report(*new))
    assert [change.kind for change in found.changes] == ["observed_drifted"]
    assert found.notes == [
        "2 cases ran with torch on cpu before and with torch on cuda now; "
        "their numbers are compared all the same."
    ]


def test_an_interrupted_run_is_said_and_its_missing_cases_are_worse():
    base, new = report(case("a"), case("b")), report(case("a"), interrupted=True)
    found = compare(base, new)
    assert found.notes == ["The new run was interrupted: cases are missing from its report."]
    assert found.regression
    [change] = found.changes
    assert change.message == ("was not reached before the run was interrupted; it passed before.")


def test_reports_of_different_suites_are_compared_with_a_warning():
    found = compare(report(case("a")), report(case("b"), suite="escape"))
    assert [change.kind for change in found.changes] == ["case_removed", "case_added"]
    assert found.notes[0].startswith("The reports are of different suites, theory and escape")


def test_other_versions_are_said():
    found = compare(report(), report(packages={"torch": "2.6", "numpy": "2.0"}))
    assert found.notes == ["Versions and machines differ: torch 2.5 → 2.6, numpy – → 2.0."]
    assert not found.regression


def test_timings_are_kept_with_their_samples_and_not_judged():
    slow, fast = Timing.of("inference", [9.0, 9.0]), Timing.of("inference", [1.0, 1.0])
    base, new = report(case("a", timings=[fast])), report(case("a", timings=[slow]), case("b"))
    found = compare(base, new)
    [timing] = found.timings
    assert (timing.case, timing.name, timing.base, timing.new) == ("a", "inference", fast, slow)
    assert not found.regression


def test_a_check_of_a_report_from_before_its_renaming_is_not_gone(tmp_path):
    kept = read_report(KEPT)
    [failed] = kept.cases[0].checks
    assert (failed.name, failed.status) == ("newton: finite energy", "failed")
    suite = write_suite(tmp_path / "kept.yaml", TINY, name="kept")
    now = pcbench.run(suite, backend="numpy")
    found = compare(kept, now)
    assert not found.regression
    [better] = [change for change in found.changes if change.kind == "check_verdict"]
    assert (better.check, better.base, better.new) == (
        "newton: malformed answers",
        "failed",
        "passed",
    )
    assert "parameters_changed" not in {change.kind for change in found.changes}


def test_what_a_renamed_check_belongs_to_still_tells_it_apart():
    old = check("exact: finite energy", status="failed")
    now = [check(f"{engine}: malformed answers") for engine in ("exact", "ode")]
    assert changes([case("a", old)], [case("a", *now)]) == [
        ("check_added", "neutral"),
        ("case_verdict", "better"),
        ("check_verdict", "better"),
    ]
