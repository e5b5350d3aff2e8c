"""How a backend behaves: the same twice, in the dtype, on the device, and hands off its inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from pcbench import checks
from pcbench.cases.conformance.evaluation import anywhere, evaluated
from pcbench.cases.conformance.inference.engines import ask_for
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.cases.conformance.training import learners
from pcbench.checks import Check
from pcbench.contract import (
    Capability,
    InferenceSettings,
    IterativeInference,
    TrainingSettings,
)
from pcbench.judges.answers import Array, Evaluation
from pcbench.judges.basis import Basis
from pcbench.judges.inference import InferenceJudge
from pcbench.judges.points import joined
from pcbench.judges.problem import Problem
from pcbench.judges.reported import CONTRACT, counts_match, differing, none_of
from pcbench.judges.training.step_expected import backpropagated
from pcbench.theory.nonlinear.layered import feedforward

# As few numbers as these may all come out correctly rounded, each with a chance of perhaps a half.
_ENOUGH = 100
# Of an engine that is watched; it need not arrive.
_FEW_STEPS = 20
# What libraries call the devices that suites name.
_KINDS = {"cuda": ("cuda", "gpu", "rocm"), "gpu": ("cuda", "gpu", "rocm"), "cpu": ("cpu", "host")}


def conduct(subject: JudgedSubject, rng: np.random.Generator) -> Iterator[Check]:
    """Watch a backend while it answers."""
    activities = anywhere(subject.problem, rng, subject.dtype)
    answers = subject.evaluate(activities)
    form = next(evaluated(subject.judge, activities, answers))
    yield form
    if not form.passed:
        return
    yield from _again(subject, answers, activities)
    yield _hands_off(subject, activities)
    yield _own_copies(subject, answers)
    yield from _dtype(subject, answers)
    yield _device(subject)


def _again(subject: JudgedSubject, answers: Evaluation, activities: list[Array]) -> Iterator[Check]:
    """Ask the same again, of the same model and of one that is built anew.

    On a CPU it is the same to the last bit; elsewhere sums may be taken in any order, and answers
    are the same to rounding.
    """
    on_cpu = subject.backend.device == "cpu"
    rebuilt = subject.at(subject.problem)
    for asked in (subject, rebuilt):
        again = asked.evaluate(activities)
        if on_cpu:
            yield differing("asked twice", answers.arrays, again.arrays)
        else:
            _, *made = evaluated(subject.judge, activities, again)
            yield from (check.at("asked again") for check in made)
    if not on_cpu:
        return
    for engine in subject.engines:
        settings = _ask(engine, subject.judge)
        first, *others = (each.infer(settings) for each in (subject, subject, rebuilt))
        for other in others:
            pair = [[*one.activities, one.energies, one.residual] for one in (first, other)]
            yield differing("asked twice", *pair, extra=first.steps != other.steps).at(engine)
    for name, rule in _rules(subject):
        pair = [_learn(each, rule) for each in (subject, rebuilt)]
        yield differing("asked twice", *pair).at(f"training by {name}")


def _rules(subject: JudgedSubject) -> Iterator[tuple[str, TrainingSettings]]:
    """Return by which rules to train, where that is declared."""
    if Capability.TRAINING in subject.backend.capabilities:
        yield from learners(subject, [subject.problem], adam=False)


def _learn(subject: JudgedSubject, settings: TrainingSettings) -> list[Array]:
    """Take two steps, and return what has been learnt and recorded."""
    x, y, *precision = subject.batch
    trainer = subject.backend.trainer(subject.model, x, y, settings, *precision)
    record = trainer.run(2)
    return [*trainer.parameters(), record.losses, record.energies]


def _ask(engine: str, judge: InferenceJudge) -> InferenceSettings:
    """Return settings that take a few steps: how an engine behaves shows without arriving."""
    settings = ask_for(engine, judge).settings
    if not isinstance(settings, IterativeInference):
        return settings
    return settings.model_copy(update={"max_steps": min(settings.max_steps, _FEW_STEPS)})


def _hands_off(subject: JudgedSubject, activities: list[Array]) -> Check:
    """Look at host arrays and staged ones, before and after everything was asked of them."""
    backend, problem = subject.backend, subject.problem
    given = [problem.x, problem.y, *activities, *subject.precision]
    parameters, lent = ([a.copy() for a in arrays] for arrays in (problem.parameters, given))
    model = backend.build(problem.network, parameters)
    staged = [backend.to_device(array) for array in lent]
    (x, y, *z), precision = staged[: len(activities) + 2], staged[len(activities) + 2 :]
    before = [backend.to_host(array).copy() for array in staged]
    model.predict(x)
    model.loss(x, y, *precision)
    model.loss_gradients(x, y, *precision)
    model.energies(z, *precision)
    model.energy_gradients(z, *precision)
    for engine in subject.engines:
        model.infer(x, y, _ask(engine, subject.judge), *precision)
    for _, rule in _rules(subject):
        backend.trainer(model, x, y, rule, *precision).run(2)
    after = [*parameters, *lent, *(backend.to_host(array) for array in staged)]
    return differing("inputs changed", after, [*problem.parameters, *given, *before])


def _own_copies(subject: JudgedSubject, answers: Evaluation) -> Check:
    """Write over host arrays that a model and a batch were made of: both keep what they were."""
    backend, problem = subject.backend, subject.problem
    lent = [array.copy() for array in (*problem.parameters, problem.x)]
    *parameters, x = lent
    model, staged = backend.build(problem.network, parameters), backend.to_device(x)
    for array in lent:
        array.fill(np.nan)
    seen = backend.to_host(model.predict(staged))
    lost = int(np.sum(~np.isfinite(seen))) if np.isfinite(answers.prediction).all() else 0
    return none_of("host arrays still in use", lost, seen.size, "predicted numbers")


def _dtype(subject: JudgedSubject, answers: Evaluation) -> Iterator[Check]:
    """Check that numbers are those of the dtype, neither coarser nor finer."""
    problem = subject.problem
    numbers = joined(answers.arrays)
    fits = _has_float32(numbers)
    if subject.dtype == "float32":
        for engine in subject.engines:
            result = subject.infer(_ask(engine, subject.judge))
            arrays = [*result.activities[:-1], result.energies]  # targets may be no numbers
            fits = np.concatenate([fits, _has_float32(joined(arrays))])
        lost = int(np.sum(~fits))
        yield none_of("numbers that float32 does not have", lost, fits.size, "numbers")
    gradients = joined(answers.loss_gradients)
    if not _is_rounded_often(problem) or gradients.size < _ENOUGH:
        return
    if subject.dtype == "float64":
        coarse = float(np.mean(fits[numbers != 0]))
        yield Basis(CONTRACT, "one in 2²⁹ numbers of float64 is one of float32").at_most(
            "share of numbers that float32 has, too", coarse, 0.0, 0.5
        )
        return
    due = joined(backpropagated(problem, "float32")[0])
    rounded = int(np.sum(gradients != due.astype(np.float32).astype(np.float64)))
    name = "gradients that show the rounding of float32"
    yield counts_match(name, rounded, 1, "gradients", by=checks.at_least)


def _has_float32(numbers: Array) -> Bool[np.ndarray, " n"]:
    return np.asarray(numbers == numbers.astype(np.float32).astype(np.float64))


def _is_rounded_often(problem: Problem) -> bool:
    """Whether numbers are made of several sums of several terms, none of which is dead."""
    forward = feedforward(problem.layered, problem.x)
    return len(forward) > 2 and all(np.count_nonzero(z[0]) > 2 for z in forward[:-1])


def _device(subject: JudgedSubject) -> Check:
    """Check that answers are on the device, as far as arrays and the backend itself tell."""
    kind = subject.backend.device.partition(":")[0].lower()
    told = [subject.backend.describe().get("device", "")]
    for array in (*subject.batch, subject.model.predict(subject.batch[0])):
        device = getattr(array, "device", None)
        if device is not None and not callable(device):
            told.append(device)
    names = _KINDS.get(kind, (kind,))
    wrong = sum(not any(name in str(device).lower() for name in names) for device in told)
    return none_of("elsewhere than on the device", wrong, len(told), "arrays")
