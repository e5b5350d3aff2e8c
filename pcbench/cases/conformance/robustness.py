"""What a backend answers on empty batches and on non-finite inputs.

It may refuse, with any exception. If it answers, a mean over no samples must not be a finite
number, and neither must anything that a sample with NaN in it takes part in.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pcbench.cases.conformance.evaluation import INDEPENDENT, anywhere, prediction_off
from pcbench.cases.conformance.subject import JudgedSubject
from pcbench.checks import Check
from pcbench.contract import (
    Capability,
    Hessian,
    InferenceSettings,
    IterativeInference,
    OdeInference,
    Sgd,
    TrainingSettings,
    engine_settings,
)
from pcbench.judges.agreement import is_smooth
from pcbench.judges.answers import Array, Subject
from pcbench.judges.problem import Problem
from pcbench.judges.reported import none_of
from pcbench.spectra import HessianOperator

Means = dict[str, Callable[[], list[Array]]]

_BUDGET = 10
_TOLD_BY_INFERENCE = 3
"""Energies, whether it converged, and the residual."""


def _settings(engine: str) -> InferenceSettings:
    found = engine_settings(engine)
    if not issubclass(found, IterativeInference):
        return found.model_validate({})
    time = {"max_time": 1.0} if issubclass(found, OdeInference) else {}
    return found.cautious(100.0, max_steps=_BUDGET, **time)


def robustness(subject: JudgedSubject, rng: np.random.Generator) -> Iterator[Check]:
    """Ask with an empty batch, and with inputs that are not finite."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # of what is done here on purpose
        warnings.simplefilter("ignore")
        yield from _nothing(subject.at(subject.problem.rows(slice(0))))
        for poison in _poisons(subject.problem, rng):
            yield from _poisoned(subject, poison, rng)


class Poison(NamedTuple):
    """A problem with a number that is not finite: in a sample, or in all where that is ``None``."""

    name: str
    problem: Problem
    sample: int | None
    predicted: bool = True  # whether it is in what predictions are made of


def _attempt(ask: Callable[[], list[Array]]) -> list[Array] | None:
    """Return the answer, or ``None`` if it is refused."""
    try:
        return ask()
    except Exception:  # however a library says no
        return None


def _nothing(subject: JudgedSubject) -> Iterator[Check]:
    """Ask about a batch of no samples."""
    problem = subject.problem
    prediction = _attempt(lambda: [subject.predict(problem.x)])
    wrong = prediction is not None and prediction[0].shape != problem.y.shape
    yield none_of("no samples: prediction of another shape", int(wrong), 1, "predictions")
    activities = [np.zeros((0, width)) for width in problem.network.widths]
    means = _means(subject, activities)
    for engine in subject.engines:
        means[engine] = partial(lambda by: [subject.infer(_settings(by)).energies], engine)
    means |= _optional_means(subject, activities)
    name = "no samples: numbers for a mean over none"
    for what, ask in means.items():
        given = _attempt(ask) or []
        made = sum(int(np.isfinite(a).sum()) for a in given)
        yield none_of(name, made, sum(a.size for a in given), "numbers", where=what)


def _means(subject: Subject, activities: list[Array]) -> Means:
    """Return how to ask for what every backend knows and is a mean over samples."""
    return {
        "loss": lambda: [subject.loss()],
        "gradients of the loss": subject.loss_gradients,
        "energies": lambda: [subject.energies(activities)],
        "gradients of the energy": lambda: subject.energy_gradients(activities),
    }


def _optional_means(subject: Subject, activities: list[Array]) -> Means:
    """Return how to ask for what else is a mean over samples, where it is declared."""
    backend, problem, model = subject.backend, subject.problem, subject.model
    declared, size = backend.capabilities, problem.network.n_parameters
    means: Means = {}
    x, y, *precision = subject.batch

    def product(make: Callable[[], Hessian[Any]]) -> Callable[[], list[Array]]:
        return lambda: [HessianOperator(backend, make(), size).matvec(np.ones(size))]

    if is_smooth(problem.network) and problem.precision is None:
        staged = [subject.stage(z) for z in activities]
        if Capability.HESSIAN in declared:
            means["Hessian of the loss"] = product(lambda: model.loss_hessian(x, y))
            means["Hessian of the energy"] = product(lambda: model.energy_hessian(staged))
        if Capability.UNROLLED_HESSIAN in declared:
            means["unrolled Hessian"] = product(lambda: model.unrolled_hessian(x, y, 2, 0.1))
    if Capability.TRAINING in declared:
        rule = TrainingSettings("loss", Sgd(), 0.1)
        means["loss in training"] = lambda: [
            subject.backend.trainer(model, x, y, rule, *precision).run(1).losses
        ]
    return means


def _poisons(problem: Problem, rng: np.random.Generator) -> Iterator[Poison]:
    """Put NaN into an input, a target that is observed, a weight, a bias.

    And infinity, where no activation saturates.
    """
    n = int(rng.choice(np.flatnonzero(problem.weighting.any(axis=1))))
    bad = [np.nan, np.inf] if problem.network.is_linear else [np.nan]
    for value in bad:
        x, y = problem.x.copy(), problem.y.copy()
        x[n, rng.integers(x.shape[1])] = value
        yield Poison(f"{value} in an input", replace(problem, x=x), n)
        y[n, rng.choice(np.flatnonzero(problem.weighting[n]))] = value
        yield Poison(f"{value} in a target", replace(problem, y=y), n, predicted=False)
        weights = _with_one(problem, problem.weights, value, rng)
        yield Poison(f"{value} in a weight", replace(problem, weights=weights), None)
        if problem.biases:
            biases = _with_one(problem, problem.biases, value, rng)
            yield Poison(f"{value} in a bias", replace(problem, biases=biases), None)


def _with_one(
    problem: Problem, arrays: list[Array], value: float, rng: np.random.Generator
) -> list[Array]:
    """Put a value into one of the layers' arrays, where some output that is observed meets it."""
    copies = [np.array(array, order="C") for array in arrays]
    layer = int(rng.integers(len(copies)))
    rows = copies[layer].reshape(len(copies[layer]), -1)
    met = np.arange(len(rows))
    if layer == len(copies) - 1:
        met = np.flatnonzero(problem.weighting.any(axis=0))
    rows[rng.choice(met), rng.integers(rows.shape[1])] = value
    return copies


def _poisoned(subject: JudgedSubject, poison: Poison, rng: np.random.Generator) -> Iterator[Check]:
    """Ask everything of a problem with a number that is not finite."""
    problem, asked = subject.problem, subject.at(poison.problem)
    predicted = _attempt(lambda: [asked.predict(poison.problem.x)])
    if predicted is not None:
        wrong, name = predicted[0].shape != problem.y.shape, "predictions of another shape"
        yield none_of(name, int(wrong), 1, "predictions", where=poison.name)
        if not wrong:
            yield from _predictions(subject, poison, predicted[0])
    hidden = anywhere(problem, rng, subject.dtype)[1:-1]
    values = _means(asked, [poison.problem.x, *hidden, poison.problem.y])
    made = {what for what, ask in values.items() if _is_finite(_attempt(ask))}
    made = made.union(*(_by_inference(asked, engine) for engine in subject.engines))
    total = len(values) + _TOLD_BY_INFERENCE * len(subject.engines)
    where = ", ".join([poison.name, *sorted(made)])
    yield none_of("finite answers from non-finite input", len(made), total, "answers", where=where)


def _predictions(subject: JudgedSubject, poison: Poison, predicted: Array) -> Iterator[Check]:
    """Check that a sample's own prediction is no number, and that those of others are."""
    samples = np.arange(len(predicted))
    own = samples == poison.sample if poison.sample is not None else samples >= 0
    if poison.predicted:
        name = "finite predictions from non-finite input"
        made = int(np.isfinite(predicted[own]).all(axis=1).sum())
        yield none_of(name, made, int(own.sum()), "samples", where=poison.name)
    others = ~own if poison.predicted else samples >= 0
    if others.any():
        name, x = "predictions of other samples", subject.problem.x
        due = subject.at(subject.problem).predict(x)
        off = 2 * prediction_off(subject.judge)
        yield INDEPENDENT.distance(name, predicted[others], due[others], off, poison.name)


def _is_finite(answer: list[Array] | None) -> bool:
    return answer is not None and all(np.isfinite(array).all() for array in answer)


def _by_inference(subject: Subject, engine: str) -> set[str]:
    """Return what an engine says of a batch as if all were well."""
    try:
        result = subject.infer(_settings(engine))
    except Exception:  # it refuses
        return set()
    hidden = subject.problem.network.n_hidden
    told = {
        "energies": np.isfinite(result.energies).all(),
        "converged": result.converged,
        "residual": hidden and np.isfinite(result.residual).all(),
    }
    return {f"{what} by {engine}" for what, is_told in told.items() if is_told}
