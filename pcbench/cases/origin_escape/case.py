"""Figures 2, 5, 7, 11 and 12: training from near the origin, by PC and by BP, fairly.

Both learners start from the same weights, see the same batches and take steps of the same size on
objectives of the same scale; what differs is the objective. ``scaling: published`` is the
notebooks' comparison, where PC's step is ``N d_L / 2`` times BP's, and ``both`` makes either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from pcbench.case import Case, CaseParameters, Columns, Context, Finding, Measurement
from pcbench.cases.origin_escape.parameters import Parameters
from pcbench.cases.origin_escape.run import Outcome, Start, train
from pcbench.cases.origin_escape.steps import first_steps, later_step
from pcbench.checks import Check
from pcbench.claims import Claim
from pcbench.contract import ExactInference, Sgd
from pcbench.judges.answers import training_needs
from pcbench.judges.claims import Question, Ratios, answers, insist
from pcbench.judges.training.curves import LEARNERS, Scaling
from pcbench.judges.training.step_judge import StepJudge
from pcbench.statistics import Times, paired_ratio

TIMED_STEPS = 20
"""Of a measurement, norms recorded as in training; fewer where looks are closer."""


MOST_ROWS = 400
"""Of a series: a plot shows no more, and a report of a hundred thousand steps would be large."""


class OriginEscape(Case[Parameters]):
    """Both learners, from near the origin, over seeds."""

    kind: ClassVar[str] = "origin_escape"
    description: ClassVar[str] = (
        "how many steps and how much time PC and BP take to leave the origin, over "
        "many seeds, with an interval for the ratio; growth and gradients on the way (figures "
        "2, 5, 7, 11, 12)"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return training, replicas, and what engine and network take."""
        return training_needs(self.parameters.network, self.parameters.inference)

    def run(self, context: Context) -> Iterator[Finding]:
        """Train by both learners in every scaling asked for, and compare."""
        asked = self.parameters
        start = Start.pose(context, asked)
        claims: dict[Question, Ratios] = {}
        troubles: list[Check] = []
        reached = 0.0
        for scaling in asked.scalings:
            for check in self._first_steps(start, scaling):
                yield check
                if not check.passed:
                    troubles.append(check)
            outcomes = {learner: train(start, learner, scaling) for learner in LEARNERS}
            pc, bp = outcomes["PC"], outcomes["BP"]
            reached = max(reached, _largest(pc.course.residuals))
            claims[self._question(scaling)] = Ratios.of_times(
                pc.times, bp.times, (pc.lost, bp.lost)
            )
            if scaling == asked.scalings[0]:  # the gradients of the contract are the same in all
                claims[self._steepness(start)] = Ratios.of_norms(
                    bp.first_gradients, pc.first_gradients
                )
            yield comparison(scaling, pc.times, bp.times)
            for learner, outcome in outcomes.items():
                settings, label = start.settings(learner, scaling), f"{learner}, {scaling} scaling"
                for check in later_step(start, settings, label, outcome):
                    yield check
                    if not check.passed:
                        troubles.append(check)
                yield from series(label, outcome)
                yield self._price(start, learner, scaling, outcome)
        # A step that failed says more of why there is no evidence than one that was undecided.
        troubles.sort(key=lambda check: check.status != "failed")
        groundless = start.no_saddle() or (_broken(troubles[0]) if troubles else "")
        longer = start.batch * start.problem.y.shape[1] / 2
        findings = [
            _told(finding, reached)
            for finding in answers(claims, f"there PC's step is {longer:g} times BP's", groundless)
        ]
        yield from findings
        insist(findings)

    def _question(self, scaling: Scaling) -> Question:
        return Question(
            name="PC leaves the origin in fewer steps than BP",
            setting=f"{scaling} scaling",
            check=f"steps to escape, PC/BP ({scaling} scaling)",
            source="figures 2, 5, 7, 11 and 12 (arXiv:2408.11979); theory.md 2.7",
            required=self.parameters.sooner,
            published=scaling == "published",
            longer="training.steps (or epochs)",
            more="seeds",
            sooner="escape.window or training.learning_rate",
        )

    def _steepness(self, start: Start) -> Question:
        """Ask what makes PC's saddle strict, and BP's not: with one hidden layer both are."""
        return Question(
            name="BP has less of a gradient where it starts than PC",
            setting="first step",
            check="gradient of BP where it starts, times that of PC",
            source="figures 5 and 11 (arXiv:2408.11979); theory.md 2.4, 2.7",
            required=self.parameters.sooner and start.problem.network.n_hidden > 1,
            published=False,
            longer="nothing, for one step tells",
            more="seeds",
        )

    def _first_steps(self, start: Start, scaling: Scaling) -> Iterator[Check]:
        """Check that training takes the right steps, and begins as the initial weights predict."""
        asked = self.parameters
        if not asked.judged:
            return
        for learner in LEARNERS:
            judge = StepJudge(
                start.context,
                start.problem,
                start.settings(learner, scaling),
                start.seeds,
                start.first_batches(asked.judged),
                f"{learner}, {scaling} scaling",
            )
            findings = list(judge.findings(asked.judged))
            yield from findings
            if any(check.status == "undecided" for check in findings):
                return  # training leaves the range of numbers, and so would a replay
        sgd = isinstance(asked.training.optimiser, Sgd)
        if start.problem.network.is_linear and sgd and isinstance(asked.inference, ExactInference):
            yield from first_steps(start, scaling)

    def _price(self, start: Start, learner: str, scaling: Scaling, outcome: Outcome) -> Measurement:
        """Time a step of all seeds at once, and say what escaping costs in wall-clock time."""
        training = self.parameters.training
        trainer = start.trainer(learner, scaling)
        timed_steps = min(training.look, TIMED_STEPS)
        batches = start.first_batches(timed_steps)
        timed = start.context.measure(
            f"step of {learner}, {scaling} scaling",
            partial(trainer.run, timed_steps, batches, training.every),
        )
        seconds = [sample / timed_steps for sample in timed.samples_s]
        steps = float(np.median(outcome.times.latest))
        if not np.isfinite(steps):  # censored
            steps = np.nan
        return replace(
            timed,
            samples_s=seconds,
            details={
                "seeds": float(len(outcome.times.times)),
                "escaped": float(outcome.times.observed.sum()),
                "diverged": float(outcome.course.fates.count("diverged")),
                "residual of inference": _largest(outcome.course.residuals),
                "median steps to escape": steps,
                "seconds to escape": steps * float(np.median(seconds)),
            },
        )


def _broken(check: Check) -> str:
    """Say why runs are no evidence: the learner errs, or its steps cannot be checked."""
    if check.status == "undecided":
        return f"Training itself could not be judged: {check.explanation}"
    return f"Training itself is not right: {check.explanation}"


def _told(finding: Claim | Check, residual: float) -> Claim | Check:
    """Add to a claim that does not hold that PC's inference did not converge, if so."""
    if not finding.message or residual < 1:
        return finding
    message = (
        f"{finding.message} PC's inference ended as far from equilibrium as it began (residual "
        f"{residual:.3g}); give inference shorter steps and more of them, or another engine."
    )
    return finding.model_copy(update={"message": message})


def _largest(residuals: Float[np.ndarray, "K R"]) -> float:
    """Return the largest residual of seeds while they ran."""
    ran = residuals[np.isfinite(residuals)]
    return float(ran.max()) if ran.size else float("nan")


def series(label: str, outcome: Outcome) -> Iterator[Columns]:
    """Yield losses, norms, tests and trajectories of one learner."""
    course, tests = outcome.course, outcome.tests
    measured = {"loss": course.losses, "energy": course.energies}
    yield _by_seed(f"training of {label}", np.arange(len(course.losses)), measured)
    norms = np.linalg.norm(course.gradient_norms, axis=2)
    measured = {"gradient norm": norms, "residual of inference": course.residuals}
    columns, rows = _by_seed(f"norms of {label}", course.recorded, measured), _rows(course.recorded)
    columns.columns["inference steps"] = course.inference_steps[rows].tolist()
    yield columns
    # Of each layer the median over seeds is enough for a plot, and a report holds few numbers.
    middle = {
        f"{what} of parameter {index + 1}": _middle(array[rows, :, index])
        for what, array in (
            ("gradient norm", course.gradient_norms),
            ("norm", course.parameter_norms),
        )
        for index in range(array.shape[2])
    }
    steps = {"step": course.recorded[rows].astype(float).tolist()}
    yield Columns(f"layers of {label}, median of seeds", steps | middle)
    if tests.steps:
        measured = {"loss": np.array(tests.losses)}
        if tests.accuracies:
            measured["accuracy"] = np.array(tests.accuracies)
        yield _by_seed(f"tests of {label}", np.array(tests.steps), measured)
    if outcome.trajectory:
        path = np.array(outcome.trajectory)  # (looks, R, P)
        names = ["step", *(f"parameter {index + 1}" for index in range(path.shape[2]))]
        for seed in range(path.shape[1]):
            points = np.column_stack([np.arange(len(path)), path[:, seed]]).tolist()
            yield Columns.of_rows(f"path of {label}, seed {seed + 1}", names, points)


def comparison(scaling: Scaling, pc: Times, bp: Times) -> Columns:
    """Return the numbers behind a claim, for plots and other tests."""
    ratio, count = paired_ratio(pc, bp), len(pc.times)
    return Columns(
        f"steps to escape, {scaling} scaling",
        {
            "PC": pc.times.tolist(),
            "PC escaped": pc.observed.astype(float).tolist(),
            "BP": bp.times.tolist(),
            "BP escaped": bp.observed.astype(float).tolist(),
            # The same in every row: a series has columns of one length.
            "median ratio": [ratio.estimate] * count,
            "ratio, low": [ratio.low] * count,
            "ratio, high": [ratio.high] * count,
            "confidence": [ratio.confidence] * count,
        },
    )


def _by_seed(
    name: str, steps: Int[np.ndarray, " T"], quantities: dict[str, Float[np.ndarray, "T R"]]
) -> Columns:
    """Make a column of every quantity and seed."""
    rows = _rows(steps)
    columns = {"step": steps[rows].astype(float).tolist()}
    for quantity, values in quantities.items():
        for seed in range(values.shape[1]):
            columns[f"{quantity}, seed {seed + 1}"] = values[rows, seed].tolist()
    return Columns(name, columns)


def _rows(steps: Int[np.ndarray, " T"]) -> Int[np.ndarray, " rows"]:
    """Choose rows evenly, the first and the last among them."""
    count = len(steps)
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, MOST_ROWS)).astype(int))


def _middle(values: Float[np.ndarray, "K R"]) -> list[float]:
    """Median of the seeds that still ran; NaN where none did."""
    ran = np.isfinite(values).any(axis=1)
    middle = np.full(len(values), np.nan)
    middle[ran] = np.nanmedian(values[ran], axis=1)
    return middle.tolist()
