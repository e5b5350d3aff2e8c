"""How a backend behaves: the same twice, in the dtype, on the device, and hands off its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool

from pcbench import checks
from pcbench.cases.conformance.draw import offered
from pcbench.cases.conformance.evaluation import EvaluationJudge, anywhere
from pcbench.cases.conformance.inference.engines import ask_for
from pcbench.cases.conformance.training import learners
from pcbench.checks import Check
from pcbench.contract import (
    Backend,
    Capability,
    InferenceSettings,
    IterativeInference,
    TrainingSettings,
)
from pcbench.judges.answers import Array, Evaluation, Subject
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.problem import Problem
from pcbench.judges.reported import CONTRACT, counted, differing, none_of
from pcbench.judges.training.step_expected import backpropagated
from pcbench.theory.nonlinear.layered import feedforward

# As few numbers as these may all come out correctly rounded, each with a chance of perhaps a half.
_ENOUGH = 100
# Of an engine that is watched; it need not arrive.
_FEW_STEPS = 20
# What libraries call the devices that suites name.
_KINDS = {"cuda": ("cuda", "gpu", "rocm"), "gpu": ("cuda", "gpu", "rocm"), "cpu": ("cpu", "host")}


def conduct(backend: Backend[Any], problem: Problem, rng: np.random.Generator) -> Iterator[Check]:
    """Watch a backend while it answers."""
    activities = anywhere(problem, rng, backend.dtype)
    subject = Subject(backend, problem)
    answers = subject.evaluate(activities)
    well_formed = EvaluationJudge(problem, activities, backend.dtype).well_formed(answers)
    yield well_formed
    if not well_formed.passed:
        return
    yield from _again(subject, answers, activities)
    yield _hands_off(backend, problem, activities)
    yield _own_copies(backend, problem, answers)
    yield from _dtype(subject, answers)
    yield _device(subject)


def _again(subject: Subject, answers: Evaluation, activities: list[Array]) -> Iterator[Check]:
    """Ask the same again, of the same model and of one that is built anew.

    On a CPU it is the same to the last bit; elsewhere sums may be taken in any order, and answers
    are the same to rounding.
    """
    backend, problem = subject.backend, subject.problem
    rebuilt = Subject(backend, problem)
    for asked in (subject, rebuilt):
        again = asked.evaluate(activities)
        if backend.device != "cpu":
            judge = EvaluationJudge(problem, activities, backend.dtype)
            yield from (check.at("asked again") for check in judge.checks(again))
            continue
        yield differing("asked twice", answers.arrays, again.arrays)
    if backend.device != "cpu":
        return
    for engine in offered(backend, problem):
        settings = _ask(engine, problem, backend)
        first, *others = (each.infer(settings) for each in (subject, subject, rebuilt))
        for other in others:
            pair = [[*one.activities, one.energies, one.residual] for one in (first, other)]
            yield differing("asked twice", *pair, extra=first.steps != other.steps).at(engine)
    for name, rule in _rules(backend, problem):
        pair = [_learn(each, rule) for each in (subject, rebuilt)]
        yield differing("asked twice", *pair).at(f"training by {name}")


def _rules(backend: Backend[Any], problem: Problem) -> Iterator[tuple[str, TrainingSettings]]:
    """Return by which rules to train, where that is declared."""
    if Capability.TRAINING in backend.capabilities:
        yield from learners(backend, [problem], adam=False)


def _learn(subject: Subject, settings: TrainingSettings) -> list[Array]:
    """Take two steps, and return what has been learnt and recorded."""
    x, y, *precision = subject.batch
    trainer = subject.backend.trainer(subject.model, x, y, settings, *precision)
    record = trainer.run(2)
    return [*trainer.parameters(), record.losses, record.energies]


def _ask(engine: str, problem: Problem, backend: Backend[Any]) -> InferenceSettings:
    """Return settings that take a few steps: how an engine behaves shows without arriving."""
    settings = ask_for(engine, InferenceJudge(problem, backend.dtype)).settings
    if not isinstance(settings, IterativeInference):
        return settings
    return settings.model_copy(update={"max_steps": min(settings.max_steps, _FEW_STEPS)})


def _hands_off(backend: Backend[Any], problem: Problem, activities: list[Array]) -> Check:
    """Look at host arrays and staged ones, before and after everything was asked of them."""
    weighted = [] if problem.precision is None else [problem.precision]
    given = [*problem.parameters, problem.x, problem.y, *activities, *weighted]
    lent = [array.copy() for array in given]
    parameters, rest = lent[: len(problem.parameters)], lent[len(problem.parameters) :]
    model = backend.build(problem.network, parameters)
    staged = [backend.to_device(array) for array in rest]
    (x, y, *z), precision = staged[: len(activities) + 2], staged[len(activities) + 2 :]
    before = [backend.to_host(array).copy() for array in staged]
    model.predict(x)
    model.loss(x, y, *precision)
    model.loss_gradients(x, y, *precision)
    model.energies(z, *precision)
    model.energy_gradients(z, *precision)
    for engine in offered(backend, problem):
        model.infer(x, y, _ask(engine, problem, backend), *precision)
    for _, rule in _rules(backend, problem):
        backend.trainer(model, x, y, rule, *precision).run(2)
    after = [backend.to_host(array) for array in staged]
    return differing("inputs changed", [*lent, *after], [*given, *before])


def _own_copies(backend: Backend[Any], problem: Problem, answers: Evaluation) -> Check:
    """Write over host arrays that a model and a batch were made of: both keep what they were."""
    lent = [array.copy() for array in (*problem.parameters, problem.x)]
    *parameters, x = lent
    model, staged = backend.build(problem.network, parameters), backend.to_device(x)
    for array in lent:
        array.fill(np.nan)
    seen = backend.to_host(model.predict(staged))
    lost = int(np.sum(~np.isfinite(seen))) if np.isfinite(answers.prediction).all() else 0
    return none_of("host arrays still in use", lost, seen.size, "predicted numbers")


def _dtype(subject: Subject, answers: Evaluation) -> Iterator[Check]:
    """Check that numbers are those of the dtype, neither coarser nor finer."""
    backend, problem = subject.backend, subject.problem
    numbers = np.concatenate([array.ravel() for array in answers.arrays])
    fits = _has_float32(numbers)
    if backend.dtype == "float32":
        for engine in offered(backend, problem):
            result = subject.infer(_ask(engine, problem, backend))
            arrays = [*result.activities[:-1], result.energies]  # targets may be no numbers
            fits = np.concatenate([fits, *(_has_float32(array.ravel()) for array in arrays)])
        lost = int(np.sum(~fits))
        yield none_of("numbers that float32 does not have", lost, fits.size, "numbers")
    gradients = np.concatenate([gradient.ravel() for gradient in answers.loss_gradients])
    if not _is_rounded_often(problem) or gradients.size < _ENOUGH:
        return
    if backend.dtype == "float64":
        coarse = float(np.mean(fits[numbers != 0]))
        yield Basis(CONTRACT, "one in 2²⁹ numbers of float64 is one of float32").at_most(
            "share of numbers that float32 has, too", coarse, 0.0, 0.5
        )
        return
    due = np.concatenate([one.ravel() for one in backpropagated(problem, "float32")[0]])
    yield checks.at_least(
        "gradients that show the rounding of float32",
        int(np.sum(gradients != due.astype(np.float32).astype(np.float64))),
        1,
        counted("gradients"),
        source=CONTRACT,
    )


def _has_float32(numbers: Array) -> Bool[np.ndarray, " n"]:
    return np.asarray(numbers == numbers.astype(np.float32).astype(np.float64))


def _is_rounded_often(problem: Problem) -> bool:
    """Whether numbers are made of several sums of several terms, none of which is dead."""
    forward = feedforward(problem.layered, problem.x)
    return len(forward) > 2 and all(np.count_nonzero(z[0]) > 2 for z in forward[:-1])


def _device(subject: Subject) -> Check:
    """Check that answers are on the device, as far as arrays and the backend itself tell."""
    backend = subject.backend
    kind = backend.device.partition(":")[0].lower()

    def accepted(told: Any) -> bool:
        return any(each in str(told).lower() for each in _KINDS.get(kind, (kind,)))

    told = [backend.describe().get("device", "")]
    for array in (*subject.batch, subject.model.predict(subject.batch[0])):
        device = getattr(array, "device", None)
        if device is not None and not callable(device):
            told.append(device)
    wrong = sum(not accepted(device) for device in told)
    return none_of("elsewhere than on the device", wrong, len(told), "arrays")
