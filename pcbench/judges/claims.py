"""What the paper claims of PC against BP, put to ratios of paired runs: three verdicts.

Of a ratio PC/BP that is claimed to be less than 1, the exact interval of the median over pairs
decides. Where runs were censored, ratios are known within bounds, and so is what the interval would
be: if the claim would hold were every ratio at its lower bound, censoring has left it open. A run
that diverged would not have left with a longer budget, and gets no such benefit of the doubt; but a
pair of which both runs diverged is evidence for neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, nan

import numpy as np
from jaxtyping import Bool, Float

from pcbench import checks
from pcbench.case import CaseSkippedError, Finding
from pcbench.checks import Check, Tolerance
from pcbench.claims import Claim, Verdict
from pcbench.statistics import Interval, Times, log_ratio_bounds, ratio_interval

CONFIDENCE = 0.95
FEWEST = 5
"""Pairs that all go one way by chance once in 32 times: with fewer there is no verdict."""


@dataclass(frozen=True, slots=True)
class Question:
    """A claim, where it is put to the test, and what becomes of the verdict.

    ``check`` is the name of the check that a claim becomes if the suite insists on it
    (``required``); ``published`` settings are those of the paper in which PC has more than its
    objective for it. ``longer`` and ``more`` name what to raise where runs were too short or too
    few, ``sooner`` what to lower where runs left before it could be seen; ``waiver`` tells how to
    have the claim reported alone.
    """

    name: str
    setting: str
    check: str
    source: str
    required: bool
    published: bool
    longer: str
    more: str
    sooner: str = "training.learning_rate"
    waiver: str = "write sooner: false"


@dataclass(frozen=True, slots=True)
class Ratios:
    """Logarithms of the ratio of every pair within bounds, which are equal where it is known.

    ``tolerance`` says by how much less than 1 is less. Of the pairs, a longer run would have shown
    no more about those ``lost``, and ``void`` many tell nothing, for both runs diverged. By
    learner: how many runs were ``censored``, how many of these a longer budget may have seen leave
    (``late``: neither run of the pair diverged), and how many left as soon as it could be seen.
    """

    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    tolerance: Tolerance
    lost: Bool[np.ndarray, " n"]
    censored: dict[str, int] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    void: int = 0
    at_once: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_times(
        cls,
        pc: Times,
        bp: Times,
        lost: tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]] | None = None,
    ) -> Ratios:
        """Compare escape times; ``lost`` are runs of either that diverged before they left."""
        pc_lost, bp_lost = lost or (np.zeros(len(pc.times), bool),) * 2
        # Times are whole steps: a ratio below 1 is below by a step of the longest time, or more.
        longest = max(float(bp.times.max()), 1.0) if len(bp.times) else 1.0
        runs, neither = {"PC": pc, "BP": bp}.items(), ~(pc_lost | bp_lost)
        return cls(
            *log_ratio_bounds(pc, bp),
            tolerance=Tolerance(0.5 / longest, "half a step of BP's longest time"),
            lost=pc_lost ^ bp_lost,
            censored={name: int((~of.observed).sum()) for name, of in runs},
            late={name: int((~of.observed & neither).sum()) for name, of in runs},
            void=int((pc_lost & bp_lost).sum()),
            at_once={name: int(of.at_once.sum()) for name, of in runs},
        )

    @classmethod
    def of_norms(cls, over: Float[np.ndarray, " n"], under: Float[np.ndarray, " n"]) -> Ratios:
        """Compare gradient norms; NaN counts against the claim.

        Above it counts as infinite, below as 0, and anything over 0 as infinite.
        """
        over = np.where(np.isfinite(over), over, inf)
        under = np.where(np.isfinite(under), under, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(under > 0, np.log(over) - np.log(under), inf)
        # Rounding in either norm is a pair's luck like any other, which the interval is about.
        strictly = Tolerance(float(np.finfo(float).eps), "rounding in float64")
        return cls(logs, logs, strictly, lost=np.zeros(len(logs), bool))

    def __len__(self) -> int:
        return len(self.lower)

    def interval(self) -> Interval:
        """Bound the median ratio; the confidence is reached whatever the distribution."""
        if not len(self):
            return Interval(0.0, nan, inf, nan)
        return ratio_interval(self.lower, self.upper, CONFIDENCE)

    @property
    def tied(self) -> bool:
        """Whether all times are equal, as far as whole steps tell."""
        return bool(self.censored) and not (self.lower.any() or self.upper.any())

    def verdict(self) -> Verdict:
        """Say whether the claim is borne out, and if not, whether censoring is why."""
        if len(self) < FEWEST or self.tied:
            return "unresolved"
        bound = 1 - self.tolerance.value
        if self.interval().high <= bound:
            return "borne out"
        at_best = np.where(self.lost, self.upper, self.lower)
        may_hold = ratio_interval(at_best, at_best, CONFIDENCE).high <= bound
        return "unresolved" if may_hold else "not borne out"


def answers(
    asked: Mapping[Question, Ratios], advantage: str, groundless: str = ""
) -> Iterator[Claim | Check]:
    """Put one claim to several settings, the fair one and the published, each with what was seen.

    Yields a claim a setting, and of required ones a check, unless they are unresolved or not
    judged. ``advantage`` is what PC has for it in published settings, where a claim may hold in
    them alone. ``groundless`` is a sentence, why no verdict would be about the claim, if so: then
    none is given.
    """
    claims = {question: _claim(question, ratios) for question, ratios in asked.items()}
    if groundless:
        for claim in claims.values():
            yield claim.model_copy(update={"verdict": "not judged", "message": groundless})
        return
    holding = [
        f"{claim.setting} ({claim.ratio})"
        for question, claim in claims.items()
        if question.published and claim.verdict == "borne out"
    ]
    for question, claim in claims.items():
        if holding and not question.published and claim.verdict != "borne out":
            message = (
                f"{claim.message} It is borne out under {'; '.join(holding)}, but not under "
                f"{claim.setting}: {advantage}."
            )
            claim = claim.model_copy(update={"message": message})
        yield claim
        if claim.required and claim.verdict != "unresolved":
            yield _check(question, claim, asked[question])


def insist(findings: Iterable[Finding]) -> None:
    """Skip the case if a required claim has no verdict; call it after everything was yielded."""
    for verdict in ("unresolved", "not judged"):
        without = [
            f"{claim.name}, {claim.setting}: {claim.message.removesuffix('.')}"
            for claim in findings
            if isinstance(claim, Claim) and claim.required and claim.verdict == verdict
        ]
        if without:
            raise CaseSkippedError(f"{verdict}: {'; '.join(without)}")


def _claim(question: Question, ratios: Ratios) -> Claim:
    interval, verdict = ratios.interval(), ratios.verdict()
    claim = Claim(
        name=question.name,
        setting=question.setting,
        verdict=verdict,
        low=_finite(interval.low),
        estimate=_finite(interval.estimate),
        high=_finite(interval.high),
        confidence=_finite(interval.confidence),
        pairs=len(ratios),
        censored=ratios.censored,
        required=question.required,
        source=question.source,
    )
    return claim.model_copy(update={"message": _message(question, claim, ratios)})


def _message(question: Question, claim: Claim, ratios: Ratios) -> str:
    """Say why a claim is not borne out, and of what leaves it open how to have less."""
    pairs, slower = claim.pairs, "lower training.learning_rate"
    at_once, late = (
        " and ".join(f"{count} of {learner}" for learner, count in counts.items())
        for counts in (ratios.at_once, ratios.late)
    )
    lost = f"{int(ratios.lost.sum())} of {pairs} pairs one run diverged"
    if claim.verdict == "borne out":
        return ""
    if pairs < FEWEST:
        return f"Pairs: {pairs}, where a verdict takes {FEWEST}; raise {question.more}."
    if ratios.tied:
        return (
            f"All {pairs} pairs are tied, and whole steps tell no more; {slower}, so that leaving "
            "takes more of them."
        )
    if claim.verdict == "not borne out":
        told = f"; of {pairs} pairs, {late} had not left" if any(ratios.late.values()) else ""
        told += f"; of {lost}" if ratios.lost.any() else ""
        return (
            f"The ratio is {claim.ratio}, and its upper end should be below 1 by more "
            f"than {ratios.tolerance.derivation}{told}."
        )
    reasons = {
        f"Of {ratios.void} of {pairs} pairs both runs diverged, which is evidence for neither; "
        f"{slower}.": ratios.void,
        f"Of {pairs} pairs, {at_once} had left by the first step at which it can be seen; lower "
        f"{question.sooner}.": any(ratios.at_once.values()),
        f"Of {lost}, and a longer one would tell no more; {slower}.": ratios.lost.any(),
        f"Of {pairs} pairs, {late} had not left when their runs ended; had they then, it would be "
        f"borne out; raise {question.longer}, or {question.more}.": any(ratios.late.values()),
    }
    return " ".join(reason for reason, holds in reasons.items() if holds)


def _check(question: Question, claim: Claim, ratios: Ratios) -> Check:
    check = checks.below(
        question.check,
        inf if claim.high is None else claim.high,
        1.0,
        ratios.tolerance,
        source=question.source,
        where=f"upper end of the {claim.confidence:.1%} interval of the median ratio over "
        f"{claim.pairs} pairs",
    )
    if check.passed:
        return check
    waived = f"To have it reported, and not required, {question.waiver}."
    message = f"{question.check}: {claim.message} {waived}"
    return check.model_copy(update={"message": message})


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
