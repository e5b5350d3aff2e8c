"""Three verdicts, and when each is given; a claim that luck alone bears out is rare."""

import re

import numpy as np
import pytest

from pcbench.case import CaseSkippedError
from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.judges.claims import Question, Ratios, answers, insist
from pcbench.statistics import Times, paired_ratio

FAIR = Question(
    "PC is sooner", "matched", "PC/BP (matched)", "figure 2", True, False, "steps", "seeds"
)
PUBLISHED = Question(
    "PC is sooner", "published", "PC/BP (published)", "figure 2", True, True, "steps", "seeds"
)
REPORTED = Question(
    "PC is sooner", "matched", "PC/BP (matched)", "figure 2", False, False, "steps", "seeds"
)
NEVER = [np.inf] * 6
FAST, SLOW = [10, 11, 12, 9, 10, 13], [30, 29, 40, 33, 35, 28]


def times(values, budget=100.0):
    array = np.array(values, float)
    return Times(np.minimum(array, budget), array <= budget)


def ratios(pc, bp, lost=None, budget=100.0):
    return Ratios.of_times(times(pc, budget), times(bp, budget), lost)


def asked(pc, bp, question=FAIR, **kept):
    """Return the claim, and the check or ``None``."""
    claim, *check = answers({question: ratios(pc, bp, **kept)}, "the step is longer")
    return claim, (check or [None])[0]


# Verdicts


@pytest.mark.parametrize(
    ("pc", "bp", "verdict"),
    [
        (FAST, SLOW, "borne out"),
        (SLOW, FAST, "not borne out"),
        (SLOW, [*SLOW[:5], 29], "not borne out"),
        # Whoever is at the saddle when the budget is spent is known to be slower than the other.
        (FAST, NEVER, "borne out"),
        (NEVER, FAST, "not borne out"),
        # Neither has left: PC may have been about to.
        (NEVER, NEVER, "unresolved"),
        # Of six pairs, all must be below 1. The sixth is open, or PC is known to be later there.
        ([*FAST[:5], np.inf], [*SLOW[:5], np.inf], "unresolved"),
        ([*FAST[:5], np.inf], SLOW, "not borne out"),
        # A step is a step, however long the time; and none is none.
        ([9] * 6, [10] * 6, "borne out"),
        ([99] * 5 + [3], [100] * 5 + [4], "borne out"),
        ([20] * 5 + [21], [20] * 6, "not borne out"),
        # Whole steps tell no more.
        ([20] * 6, [20] * 6, "unresolved"),
    ],
)
def test_the_interval_decides_and_what_censoring_leaves_open_is_not_decided(pc, bp, verdict):
    claim, check = asked(pc, bp)
    assert claim.verdict == verdict
    assert (claim.message == "") == (verdict == "borne out")
    assert (check is None) == (verdict == "unresolved")
    if check is not None:
        assert check.passed == (verdict == "borne out")
        assert check.name == "PC/BP (matched)"


def test_a_longer_budget_never_turns_a_verdict_over_but_for_what_was_unresolved():
    rng = np.random.default_rng(0)
    turned = set()
    for _ in range(400):
        n = int(rng.integers(5, 13))
        pc, bp = np.ceil(rng.lognormal(3, 1, (2, n)))
        before, after = (asked(pc, bp, budget=budget)[0].verdict for budget in (12.0, np.inf))
        if before != after:
            turned.add(before)
    assert turned == {"unresolved"}


@pytest.mark.parametrize(("learner", "runs"), [("PC", 6), ("BP", 1)])
def test_a_run_that_diverged_is_given_no_benefit_of_the_doubt(learner, runs):
    open_ended = [False] * 6
    lost = [True] * runs + [False] * (6 - runs)
    # As if its budget had been 3 steps, which it was not.
    pair = {"PC": times(FAST), "BP": times(SLOW)}
    pair[learner] = Times(np.where(lost, 3.0, pair[learner].times), ~np.array(lost))
    verdicts = [
        Ratios.of_times(
            pair["PC"],
            pair["BP"],
            tuple(np.array(each if who == learner else open_ended) for who in ("PC", "BP")),
        ).verdict()
        for each in (open_ended, lost)
    ]
    assert verdicts == ["unresolved", "not borne out"]


@pytest.mark.parametrize("pairs", [0, 1, 4])
def test_fewer_pairs_than_a_verdict_takes_leave_it_open_and_say_so(pairs):
    claim, check = asked(FAST[:pairs], SLOW[:pairs])
    assert (claim.verdict, claim.pairs, check) == ("unresolved", pairs, None)
    assert claim.message == f"Pairs: {pairs}, where a verdict takes 5; raise seeds."
    assert (claim.confidence is None) == (pairs == 0)


def test_a_claim_holds_the_exact_interval_and_how_many_runs_were_cut_off():
    pc, bp = [*FAST[:4], np.inf, 20], [*SLOW[:5], np.inf]
    claim, _ = asked(pc, bp)
    ratio = paired_ratio(times(pc), times(bp))
    assert (claim.low, claim.confidence) == (pytest.approx(ratio.low), ratio.confidence)
    assert claim.high is None
    assert claim.censored == {"PC": 1, "BP": 1}
    assert claim.ratio == f"{claim.estimate:.3g} [{claim.low:.3g}, ∞]"
    assert asked(NEVER, NEVER)[0].ratio == "open [0, ∞]"


def test_a_claim_that_is_not_required_is_never_a_check():
    for pc, bp in ((FAST, SLOW), (SLOW, FAST), (NEVER, NEVER)):
        claim, check = asked(pc, bp, REPORTED)
        assert (claim.required, check) == (False, None)


@pytest.mark.parametrize("seeds", [5, 6, 8, 12])
def test_two_learners_that_are_the_same_thing_are_seldom_told_apart(seeds):
    rng, rounds = np.random.default_rng(0), 1500
    alarms = 0
    for _ in range(rounds):
        shared = rng.lognormal(3, 0.5, seeds)
        pc, bp = (np.ceil(shared * rng.lognormal(0, 0.3, seeds)) for _ in range(2))
        alarms += asked(pc, bp, budget=60.0)[0].verdict == "borne out"
    allowed = 2.0**-seeds if seeds < 6 else 0.025
    assert alarms / rounds <= allowed + 3 * np.sqrt(allowed / rounds)


@pytest.mark.parametrize("seeds", [5, 6, 8, 12])
def test_two_norms_that_are_the_same_but_for_rounding_are_seldom_told_apart(seeds):
    rng, rounds = np.random.default_rng(1), 1500
    alarms = 0
    for _ in range(rounds):
        pc, bp = 1 + 1e-7 * rng.standard_normal((2, seeds))
        alarms += Ratios.of_norms(bp, pc).verdict() == "borne out"
    allowed = 2.0**-seeds if seeds < 6 else 0.025
    assert alarms / rounds <= allowed + 3 * np.sqrt(allowed / rounds)


# What is no evidence


def test_pairs_that_both_diverge_are_evidence_for_neither():
    gone = Times(np.zeros(6), np.zeros(6, bool))
    lost = np.ones(6, bool)
    found = list(answers({FAIR: Ratios.of_times(gone, gone, (lost, lost))}, "longer"))
    [claim] = found  # and no check
    assert claim.verdict == "unresolved"
    assert claim.message == (
        "Of 6 of 6 pairs both runs diverged, which is evidence for neither; lower "
        "training.learning_rate."
    )


def test_a_pair_of_which_one_run_diverged_is_not_counted_as_one_that_had_not_left():
    # Of nine pairs, eight are enough, of which three have not left yet.
    pc, bp = [*FAST[:5], *[np.inf] * 4], [*SLOW[:5], *[np.inf] * 4]
    diverged, none = np.arange(9) == 8, np.zeros(9, bool)
    [claim] = answers({FAIR: ratios(pc, bp, lost=(none, diverged))}, "longer")
    assert (claim.verdict, claim.censored) == ("unresolved", {"PC": 4, "BP": 4})
    assert claim.message == (
        "Of 1 of 9 pairs one run diverged, and a longer one would tell no more; lower "
        "training.learning_rate. Of 9 pairs, 3 of PC and 3 of BP had not left when their runs "
        "ended; had they then, it would be borne out; raise steps, or seeds."
    )


def test_nor_is_it_where_the_claim_is_not_borne_out():
    diverged, none = np.arange(6) == 5, np.zeros(6, bool)
    claim, check = answers({FAIR: ratios([*SLOW[:5], np.inf], FAST, (diverged, none))}, "longer")
    assert not check.passed
    assert "had not left" not in claim.message
    assert claim.message.endswith(
        "half a step of BP's longest time; of 1 of 6 pairs one run diverged."
    )


def test_runs_that_leave_before_it_can_be_seen_tell_by_how_little_at_most():
    def claim(pc, bp):
        seen = (Times(np.array(each, float), np.ones(6, bool), visible=20.0) for each in (pc, bp))
        return next(answers({FAIR: Ratios.of_times(*seen)}, "longer"))

    at_once, later, still = [20] * 6, [30] * 6, [25] * 6
    assert claim(at_once, later).verdict == "borne out"  # 20/30 at most
    assert claim(at_once, later).low == 0
    both = claim(at_once, at_once)
    assert (both.verdict, both.low, both.high) == ("unresolved", 0, None)
    assert "6 of PC and 6 of BP had left by the first step at which it can be" in both.message
    assert both.message.endswith("; lower training.learning_rate.")
    # BP left at once, and PC did not: that is known.
    assert claim(still, at_once).verdict == "not borne out"


def test_ties_name_what_would_tell_them_apart():
    claim, check = asked([20] * 6, [20] * 6)
    assert check is None
    assert claim.message == (
        "All 6 pairs are tied, and whole steps tell no more; lower training.learning_rate, so that "
        "leaving takes more of them."
    )


@pytest.mark.parametrize("pair", [(SLOW, FAST), (FAST, SLOW), (NEVER, NEVER)])
def test_a_claim_without_ground_is_not_judged_whatever_the_runs_say(pair):
    found = list(answers({FAIR: ratios(*pair)}, "longer", "Training is broken."))
    [claim] = found
    assert (claim.verdict, claim.message) == ("not judged", "Training is broken.")
    with pytest.raises(CaseSkippedError, match="not judged: PC is sooner, matched: Training is"):
        insist(found)


# What holds in one setting alone


@pytest.mark.parametrize(
    ("matched", "verdict"), [((SLOW, FAST), "not borne out"), ((NEVER, NEVER), "unresolved")]
)
def test_a_claim_that_is_borne_out_where_it_is_published_alone_is_told_as_that(matched, verdict):
    found = list(
        answers({FAIR: ratios(*matched), PUBLISHED: ratios(FAST, SLOW)}, "the step is longer")
    )
    fair, published = (each for each in found if isinstance(each, Claim))
    assert [fair.verdict, published.verdict] == [verdict, "borne out"]
    said = (
        f"It is borne out under published ({published.ratio}), but not under matched: the step is "
        "longer."
    )
    assert fair.message.endswith(said)
    assert published.message == ""
    failed = [check for check in found if isinstance(check, Check) and not check.passed]
    waived = "To have it reported, and not required, write sooner: false."
    assert [check.message for check in failed] == (
        [f"PC/BP (matched): {fair.message} {waived}"] if verdict == "not borne out" else []
    )


@pytest.mark.parametrize("published", [(SLOW, FAST), (NEVER, NEVER)])
def test_a_claim_that_is_borne_out_nowhere_is_not_said_to_be(published):
    fair, *_ = answers({FAIR: ratios(SLOW, FAST), PUBLISHED: ratios(*published)}, "longer")
    assert "borne out under" not in fair.message


def test_a_claim_that_is_borne_out_when_matched_needs_no_remark_though_it_is_not_when_published():
    claims = [
        each.message
        for each in answers({FAIR: ratios(FAST, SLOW), PUBLISHED: ratios(SLOW, FAST)}, "longer")
        if isinstance(each, Claim)
    ]
    assert claims[0] == ""
    assert "borne out under" not in claims[1]


# Insisting


def test_a_required_claim_that_is_unresolved_skips_the_case_with_the_remedy():
    found = list(answers({FAIR: ratios(NEVER, NEVER)}, "longer"))
    with pytest.raises(
        CaseSkippedError,
        match=re.escape(
            "unresolved: PC is sooner, matched: Of 6 pairs, 6 of PC and 6 of BP had not left when "
            "their runs ended; had they then, it would be borne out; raise steps, or seeds"
        ),
    ):
        insist(found)


@pytest.mark.parametrize(
    "found",
    [
        list(answers({REPORTED: ratios(NEVER, NEVER)}, "longer")),
        list(answers({FAIR: ratios(SLOW, FAST)}, "longer")),
        list(answers({FAIR: ratios(FAST, SLOW)}, "longer")),
    ],
    ids=["not required", "not borne out", "borne out"],
)
def test_nothing_else_skips_it(found):
    insist(found)
    assert isinstance(found[0], Claim)
