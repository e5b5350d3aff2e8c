"""A backend that is asked about one problem, with the judge of its answers."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import cached_property

from pcbench import checks
from pcbench.checks import Check
from pcbench.contract import DType, InferenceSettings, engines
from pcbench.judges.answers import InferenceResult, Subject
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem


class JudgedSubject(Subject):
    """Puts questions to a backend, and has the judge of its answers."""

    @cached_property
    def judge(self) -> InferenceJudge:
        """The judge of answers about this problem."""
        return InferenceJudge(self.problem, self.dtype)

    @property
    def dtype(self) -> DType:
        """The dtype of the backend."""
        return self.backend.dtype

    @property
    def engines(self) -> list[str]:
        """Engines that the backend declares, and that can treat the network."""
        return [
            engine
            for engine, settings in engines()
            if settings.capability in self.backend.capabilities
            and (self.problem.network.is_linear or engine != "exact")
        ]

    def at(self, problem: Problem) -> JudgedSubject:
        """Return the same backend, asked about another problem."""
        return JudgedSubject(self.backend, problem)

    def ended(
        self, label: str, *asked: InferenceSettings
    ) -> Generator[Check, None, list[InferenceResult]]:
        """Ask for inference with these settings, and check the form of all answers.

        Where one is malformed, none is returned.
        """
        results = [self.infer(settings) for settings in asked]
        return (yield from formed(label, [self.judge] * len(asked), results))


def formed(
    label: str,
    judges: Iterable[InferenceJudge],
    results: list[InferenceResult],
    settings: InferenceSettings | None = None,
) -> Generator[Check, None, list[InferenceResult]]:
    """Check the form of answers, each by its judge, and return them; none if one is malformed."""
    forms = [judge.form(label, one, settings) for judge, one in zip(judges, results, strict=True)]
    yield from forms
    return results if checks.all_passed(forms) else []
