"""Whether a backend keeps the whole contract, on random networks of many shapes.

Other kinds ask one deep question of one network. Here many small networks are drawn, and of each is
asked what the contract promises; the judges are theirs. A question is a verdict: the smallest
network that fails it, or else the one with the least margin, and a number that draws it again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from pcbench.case import Case, CaseParameters, CaseSkippedError, Context, Finding, Omission
from pcbench.cases.conformance.conduct import conduct
from pcbench.cases.conformance.draw import Draw, Drawn
from pcbench.cases.conformance.evaluation import evaluation
from pcbench.cases.conformance.hessian import hessians, unrolled
from pcbench.cases.conformance.inference.engines import EDGE, inference
from pcbench.cases.conformance.inference.settings import settings_obeyed
from pcbench.cases.conformance.replicas import replicas
from pcbench.cases.conformance.robustness import robustness
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.cases.conformance.training import course, training
from pcbench.checks import Check, CheckStatus, Worst, undecided
from pcbench.contract import ENGINES, BackendUnavailableError, Capability, engine_settings
from pcbench.judges.problem import Problem, rounded
from pcbench.named import OneOf
from pcbench.theory.rounding.range import demand_range
from pcbench.theory.rounding.undecidable import UndecidableError

Question = Literal[
    "evaluation",
    "inference",
    "replicas",
    "hessian",
    "unrolled_hessian",
    "training",
    "settings",
    "course",
    "conduct",
    "robustness",
]
EngineName = Annotated[str, OneOf(ENGINES)]

_NEEDS: dict[Question, Capability] = {
    "replicas": Capability.REPLICAS,
    "hessian": Capability.HESSIAN,
    "unrolled_hessian": Capability.UNROLLED_HESSIAN,
    "training": Capability.TRAINING,
    "course": Capability.TRAINING,
}
_OF_A_SUBJECT: dict[str, Callable[..., Iterator[Check | Omission]]] = {
    "evaluation": evaluation,
    "hessian": hessians,
    "unrolled_hessian": unrolled,
    "conduct": conduct,
    "robustness": robustness,
}
_ELSEWHERE: dict[Question, tuple[str, str]] = {
    "inference": (
        "theorems on equilibria, deep networks and data",
        "the suites theory, nonlinear and inference ask",
    ),
    "hessian": (
        "extreme eigenvalues and spectra of large Hessians, and critical points",
        "the suites curvature, zero_rank_saddles and critical_points ask",
    ),
    "training": (
        "training until it leaves a saddle, and the law of escape times",
        "the suites origin_escape, matrix_completion and escape_law ask",
    ),
}
"""What random networks do not ask of a question, and which suites do: said in every report."""
_MORE_REPLICAS = 2
_DIFFERENTIABLE = ("hessian", "unrolled_hessian")
_SEVERITY: tuple[CheckStatus, ...] = ("failed", "undecided", "passed")


class Parameters(CaseParameters):
    """What a suite may write under ``kind: conformance``."""

    question: Question = Field(
        description="evaluation: predictions, values and gradients. inference: the equilibrium, by "
        "one engine or all on offer. replicas, hessian, unrolled_hessian, training: these "
        "capabilities. settings: what engines are told, step by step, and what they record. "
        "course: a long run of training, by every optimiser and engine. conduct: determinism, "
        "dtype, device, inputs left alone. robustness: no "
        "samples, and numbers that are not finite."
    )
    engine: EngineName | None = Field(
        None, description="Engine of inference; if not given, every one that the backend declares."
    )
    networks: PositiveInt = Field(8, le=10_000, description="Number of networks to draw.")
    only: PositiveInt | None = Field(
        None, description="Ask only about this network, by the number that a message names."
    )
    draw: Draw = Draw()

    @model_validator(mode="after")
    def _fit_together(self) -> Parameters:
        asked, layers = f"question: {self.question}", self.draw.layers
        if self.engine is not None and self.question != "inference":
            raise ValueError("an engine is for question: inference; leave 'engine' out")
        if self.engine == "exact" and layers != "linear":
            raise ValueError("engine: exact takes linear networks; write draw.layers: linear")
        if self.question in _DIFFERENTIABLE and layers not in ("linear", "smooth"):
            raise ValueError(
                f"{asked} is asked of networks without kinks; write draw.layers: linear or smooth"
            )
        if self.question == "unrolled_hessian" and self.draw.observed < 1:
            raise ValueError(f"{asked} takes no precision; leave draw.observed out")
        if self.question == "robustness" and layers == "convolutional":
            raise ValueError(
                f"{asked} is asked of fully connected networks; write draw.layers: linear, smooth "
                "or nonlinear"
            )
        return self


class Conformance(Case[Parameters]):
    """The contract of a backend, on random networks."""

    kind: ClassVar[str] = "conformance"
    description: ClassVar[str] = (
        "whether a backend keeps the contract, method by method, on random networks "
        "of many shapes: values and gradients, equilibria, replicas, Hessians, training, bad "
        "input"
    )
    Parameters: ClassVar[type[CaseParameters]] = Parameters

    def needs(self) -> frozenset[str]:
        """Return the capabilities that the question is about, and those behind the networks."""
        asked = self.parameters
        needed: set[str] = set(asked.draw.needs)
        if asked.question in _NEEDS:
            needed.add(_NEEDS[asked.question])
        if asked.engine is not None:
            needed.add(engine_settings(asked.engine).capability)
        return frozenset(needed)

    def run(self, context: Context) -> Iterator[Finding]:
        """Ask of every network, from small to large; then say what was found of all."""
        asked, verdicts, refused = self.parameters, Verdicts(), list[str]()
        left_out: dict[str, Omission] = {}
        numbers = range(1, asked.networks + 1) if asked.only is None else [asked.only]
        networks = [
            asked.draw.problem(number, context.rng(f"network {number}"), context.backend.dtype)
            for number in numbers
        ]
        context.saw("networks", *(array for drawn in networks for array in drawn.problem.arrays))
        networks.sort(key=lambda drawn: drawn.size)
        try:
            for drawn in context.progress("networks", networks, len(networks)):
                try:
                    self._ask(context, drawn, verdicts, left_out)
                except (CaseSkippedError, BackendUnavailableError) as refusal:
                    refused.append(f"{refusal} ({drawn})")
        except Exception:
            yield from verdicts  # whatever a backend breaks at, what was found before stands
            raise
        yield from verdicts
        if len(refused) == len(networks):
            raise CaseSkippedError(f"no network could be asked about: {refused[0]}")
        if refused:
            yield Omission(f"{len(refused)} of {len(networks)} networks", refused[0])
        yield from left_out.values()
        if asked.question in _ELSEWHERE:
            yield Omission(*_ELSEWHERE[asked.question])

    def _ask(
        self, context: Context, drawn: Drawn, verdicts: Verdicts, left_out: dict[str, Omission]
    ) -> None:
        """Ask of one network; what is found before it breaks counts."""
        found: list[Check] = []
        try:
            curved = self.parameters.question in _DIFFERENTIABLE
            # Curvatures are made of products of two of what values and gradients are made of.
            largest = float(np.finfo(context.backend.dtype).max) ** (0.5 if curved else 1.0)
            there = drawn.problem
            demand_range(there.layered, there.x, there.y, largest, there.precision)
            for finding in self._findings(context, drawn):
                if isinstance(finding, Omission):
                    left_out[finding.part] = finding
                else:
                    found.append(finding)
            if not found and left_out:
                raise CaseSkippedError(next(iter(left_out.values())).reason)
        except (CaseSkippedError, BackendUnavailableError):
            raise
        except UndecidableError as error:
            found.append(undecided("numbers within range", f"{error}.", source=EDGE))
        except Exception as error:
            raise BrokenAtError(f"{type(error).__name__}: {error} ({drawn})") from error
        finally:
            verdicts.add(drawn, found)

    def _findings(self, context: Context, drawn: Drawn) -> Iterator[Check | Omission]:
        number, subject = drawn.number, JudgedSubject(context.backend, drawn.problem)
        rng = context.rng(f"question {number}")
        match self.parameters.question:
            case "inference":
                return inference(subject, self.parameters.engine)
            case "settings":
                return settings_obeyed(subject)
            case "replicas":
                return replicas(subject, self._replicas(context, drawn), rng)
            case "training":
                return training(context, self._replicas(context, drawn), rng, turn=number)
            case "course":
                return course(context, drawn.problem, rng)
            case question:
                return _OF_A_SUBJECT[question](subject, rng)

    def _replicas(self, context: Context, drawn: Drawn) -> list[Problem]:
        """Return the problem at several points, its own first."""
        problem, rng = drawn.problem, context.rng(f"replicas {drawn.number}")
        points = [
            self.parameters.draw.parameters(problem.network, rng) for _ in range(_MORE_REPLICAS)
        ]
        dtype = context.backend.dtype
        return [problem, *(problem.at(rounded([*w, *b], dtype)) for w, b in points)]


class BrokenAtError(RuntimeError):
    """A backend broke at a network; the message says at which."""


class Verdicts:
    """Keeps, of checks of one name, the smallest network that fails; else the first undecided one.

    Where all pass, the least margin is kept. A failure in a large network is seldom understood
    there: networks are to be added from small to large.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Check] = {}
        self._comparisons: Counter[str] = Counter()
        self._fates: defaultdict[str, Counter[CheckStatus]] = defaultdict(Counter)

    def add(self, drawn: Drawn, checks: Iterable[Check]) -> None:
        """Take in what was asked of one network."""
        worst = Worst()
        worst.add(*checks)
        for check in worst:
            self._comparisons[check.name] += check.comparisons
            self._fates[check.name][check.status] += 1
            kept = self._kept.get(check.name)
            if kept is None or _rank(check) < _rank(kept):
                self._kept[check.name] = check.at(str(drawn))

    def __iter__(self) -> Iterator[Check]:
        for name, check in self._kept.items():
            where, fates = check.where, self._fates[name]
            for fate in _SEVERITY[:2]:
                if fates[fate]:
                    what = "fail" if fate == "failed" else fate
                    where += f"; {fates[fate]} of {fates.total()} networks {what}"
            yield check.model_copy(update={"where": where, "comparisons": self._comparisons[name]})


def _rank(check: Check) -> tuple[int, float]:
    """Order verdicts by severity; those that pass by their margin, others as they come."""
    margin = -inf if check.margin is None else check.margin
    return _SEVERITY.index(check.status), margin if check.passed else 0.0
