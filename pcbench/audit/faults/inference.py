"""Mistakes in inference that show where it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from pcbench.audit.faults.engines import going
from pcbench.audit.tables import Question, faults
from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import Host
from pcbench.contract import (
    Capability,
    ErrorInference,
    ExactInference,
    GaussNewtonInference,
    GradientInference,
    InferenceSettings,
    IterativeInference,
)
from pcbench.contract.parts import Part

# The shortest way first. At the feedforward activities nothing pulls but rounding: one step of any
# engine stays there.
_ENGINES: dict[Capability, InferenceSettings] = {
    Capability.GRADIENT_INFERENCE: GradientInference(max_steps=1, step=1e-3),
    Capability.ERROR_INFERENCE: ErrorInference(max_steps=1, step=1e-3),
    Capability.GAUSS_NEWTON_INFERENCE: GaussNewtonInference(max_steps=1),
    Capability.EXACT_INFERENCE: ExactInference(),
}


def feedforward(q: Question, x: Host) -> list[Host]:
    """Return ``z_0 … z_L`` of the forward pass of a network that a question is about.

    It is the equilibrium where the target is the prediction: no error is left anywhere.
    """
    offered = q.model.backend.capabilities
    engine = next(engine for needed, engine in _ENGINES.items() if needed in offered)
    reached = q.also("infer", x=x, y=q.also("predict", x=x), settings=engine)
    return list(reached.activities)


def _five_steps(q: Question) -> Any:
    """Inference is five gradient steps whatever is asked for, and says that it is done."""
    if Capability.GRADIENT_INFERENCE not in q.model.backend.capabilities:
        return q.ask()
    wanted = q.settings.residual if isinstance(q.settings, IterativeInference) else 0.0
    reached = q.ask(settings=GradientInference(step=0.1, max_steps=5, residual=1e-12))
    return replace(reached, converged=True, residual=0 * reached.residual + wanted)


def _activities(
    change: Callable[[Question, list[Host]], list[Any]], *, also_energies: bool = False
) -> Callable[[Question], Any]:
    """Change the activities that are returned; the energies may be those that they have."""

    def wrong(q: Question) -> Any:
        reached = q.ask()
        changed = replace(reached, activities=change(q, reached.activities))
        if not also_energies:
            return changed
        energies = q.also("energies", activities=changed.activities, precision=q.precision)
        return replace(changed, energies=energies)

    return wrong


def hidden(change: Callable[[Host], Any]) -> Callable[[Question], Any]:
    """Change the hidden activities that are returned, layer by layer."""
    return _activities(lambda q, z: [z[0], *map(change, z[1:-1]), z[-1]])


def _last_sample_forgotten(q: Question, z: list[Host]) -> list[Host]:
    pairs = zip(z[1:-1], feedforward(q, q.x)[1:-1], strict=True)
    return [z[0], *(np.concatenate([own[:-1], stale[-1:]]) for own, stale in pairs), z[-1]]


def _output_divided(by: Callable[[int, int], float]) -> Callable[[Question], Any]:
    """Divide the output term, and not hidden ones, by a number that batch and outputs give.

    The precision divides it; energies at what that leads to are the correct ones.
    """

    def wrong(q: Question) -> Any:
        if Capability.PRECISION not in q.model.backend.capabilities:
            return q.ask()
        precision = np.ones(q.y.shape) if q.precision is None else q.precision
        reached = q.ask(precision=precision / by(*q.y.shape))
        energies = q.also("energies", activities=reached.activities, precision=precision)
        return replace(reached, energies=energies)

    return wrong


def _closed_form(
    *, first: int = 2, identity: float = 1.0, transposed: bool = False
) -> Callable[[Question], Any]:
    """Infer by the closed form of linear networks, with a mistake (theory.md 2.1).

    ``e_L = S⁻¹(y - ŷ)`` and ``e_l = W_{l+1}ᵀ e_{l+1}``, with
    ``S = I + Σ_{l=2}^{L} W_{L:l} W_{L:l}ᵀ``. The sum starts at layer ``first``, ``identity`` stands
    for the ones in ``I``, and with ``transposed`` errors are pulled back by ``W``, where it is
    square.
    """

    def wrong(q: Question) -> Any:
        correct, weights = q.ask(), q.model.weights
        off = q.y - reduce(lambda z, weight: z @ weight.T, weights, q.x)
        errors = _errors(weights, off, first, identity, transposed)
        if all(map(np.array_equal, errors, _errors(weights, off, 2, 1.0, False))):
            return correct  # no difference here, but for rounding
        activities = [q.x]
        for weight, error in zip(weights, errors, strict=True):
            activities.append(activities[-1] @ weight.T + error)
        energies = q.also("energies", activities=[*activities[:-1], q.y], precision=q.precision)
        activities[-1] = correct.activities[-1]
        return replace(correct, activities=activities, energies=energies)

    return wrong


def _errors(
    weights: Sequence[Host], off: Host, first: int, identity: float, transposed: bool
) -> list[Host]:
    """Return ``e_1 … e_L`` of the output residuals."""
    covariance = identity * np.eye(len(weights[-1]))
    for start in range(first, len(weights) + 1):
        product = reduce(lambda product, weight: weight @ product, weights[start - 1 :])
        covariance = covariance + product @ product.T
    errors = [np.linalg.solve(covariance, off.T).T]
    for weight in reversed(weights[1:]):
        square = weight.shape[0] == weight.shape[1]
        errors.insert(0, errors[0] @ (weight.T if transposed and square else weight))
    return errors


FAULTS = (
    *faults(
        Part.INFERENCE,
        "infer",
        needs={Trait.LINEAR, Capability.EXACT_INFERENCE},
        when=lambda q: q.plain and q.network.is_linear,
    )(
        NoIdentity=("The identity is missing from S.", _closed_form(identity=1e-6)),
        SumFromOne=("The sum in S starts at layer 1, off by one.", _closed_form(first=1)),
        SumFromThree=("The sum in S starts at layer 3, off by one.", _closed_form(first=3)),
        TransposedJacobian=(
            "Errors are pulled back by W instead of its transpose, where the shapes let it pass.",
            _closed_form(transposed=True),
        ),
    ),
    *faults(Part.INFERENCE, "infer", when=lambda q: q.plain)(
        NoInference=(
            "Hidden activities stay those of the forward pass: backpropagation's, not an "
            "equilibrium's.",
            _activities(lambda q, z: [*feedforward(q, q.x)[:-1], z[-1]], also_energies=True),
        ),
        WrongSign=(
            "The output error is prediction minus target: hidden activities move away from the "
            "target.",
            lambda q: replace(
                reached := q.ask(y=2 * q.also("predict", x=q.x) - q.y),
                activities=[*reached.activities[:-1], q.y],
            ),
        ),
        LastSampleForgotten=(
            "The loop over samples ends one too early: the last one's activities stay as they "
            "were.",
            _activities(_last_sample_forgotten, also_energies=True),
        ),
    ),
    *faults(Part.INFERENCE, "infer")(
        FiveSteps=_five_steps,
        OutputRelaxes=(
            "The output is not clamped: it ends half the way to the prediction.",
            _activities(lambda q, z: [*z[:-1], (z[-1] + q.also("predict", x=q.x)) / 2]),
        ),
        InputRelaxes=(
            "The input is not clamped: it is returned as one of the activities that moved.",
            _activities(lambda q, z: [0.9 * z[0], *z[1:]]),
        ),
        StandardisedInput=(
            "Inputs are standardised on the way into inference, and nowhere else.",
            lambda q: q.ask(
                x=(q.x - q.x.mean(axis=-2, keepdims=True))
                / (q.x.std(axis=-2, keepdims=True) + 1e-6)
            ),
        ),
        HiddenLayersSwapped=(
            "Hidden activities are listed from the output down.",
            _activities(lambda q, z: [z[0], *reversed(z[1:-1]), z[-1]]),
        ),
        Overrelaxed=(
            "Hidden activities are returned three times as large, as after a gain left in.",
            hidden(lambda z: 3 * z),
        ),
        OneSampleAColumn=(
            "Activities are returned one sample a column.",
            _activities(lambda q, z: [np.swapaxes(each, -1, -2) for each in z]),
        ),
    ),
    *faults(Part.INFERENCE, "infer", when=lambda q: not q.replicated)(
        OutputMeanOverBatchAndOutputs=(
            "In inference the output term is a mean over batch and outputs, hidden terms are sums.",
            _output_divided(lambda samples, outputs: samples * outputs),
        ),
        OutputMeanOfSquares=(
            "In inference the output term is a mean of squares without ½, as mse_loss has it.",
            _output_divided(lambda samples, outputs: samples * outputs / 2),
        ),
        BatchMeanMixedIn=(
            "Inference mixes a hundredth of the batch's mean into hidden activities.",
            _activities(
                lambda q, z: [
                    z[0],
                    *(0.99 * each + 0.01 * each.mean(axis=-2, keepdims=True) for each in z[1:-1]),
                    z[-1],
                ],
                also_energies=True,
            ),
        ),
    ),
    *faults(
        Part.ACTIVATIONS,
        "infer",
        needs={Trait.ACTIVATION},
        when=lambda q: q.network.activation != "identity" and not q.replicated,
    )(
        StepsOfTheMean=(
            "With activations inference descends on the mean of the energies: N times slower.",
            lambda q: going(1 / q.samples, q),
        )
    ),
)
