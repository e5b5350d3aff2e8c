"""Loss, equilibrated energy and their gradients at many points in parameter space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench.contract import Backend, Capability, InferenceSettings, Objective
from pcbench.judges.answers import InferenceResult
from pcbench.judges.problem import Problem, rounded
from pcbench.networks import NetworkSpec

Point = Float[np.ndarray, " P"]
Points = Float[np.ndarray, "K P"]

# Replicas are asked for in blocks whose hidden activities, once for each output, are this many
# numbers: enough to keep a backend busy, few enough to fit any memory.
BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend says of one point, brought to the host.

    Attributes
    ----------
    problem
        The network at that point, and the batch.
    loss
        ``𝓛``, shape ``()`` where the answer is well-formed.
    result
        Where inference ended.
    gradients
        ``∂𝓛/∂θ``, and ``∂𝓕/∂θ`` where inference ended with the output clamped.
    """

    problem: Problem
    loss: Float[np.ndarray, "..."]
    result: InferenceResult
    gradients: dict[Objective, list[Float[np.ndarray, "..."]]]

    def value(self, objective: Objective) -> float:
        """Loss, or the energy that inference says it reached."""
        return float(self.loss) if objective == "loss" else self.result.energy

    def gradient(self, objective: Objective) -> Point:
        """All entries of the gradient, in the order of the parameters."""
        return joined(self.gradients[objective])


def joined(arrays: Sequence[Float[np.ndarray, "..."]]) -> Point:
    """One vector of all parameters, in their order, each row-major."""
    return np.concatenate([array.ravel() for array in arrays])


def split(network: NetworkSpec, points: Float[np.ndarray, "*K P"]) -> list[Any]:
    """Weights, then biases, of one point, or of many with a leading axis."""
    shapes = [*network.shapes, *network.bias_shapes]
    ends = np.cumsum([prod(shape) for shape in shapes])[:-1]
    parts = np.split(points, ends, axis=-1)
    return [
        part.reshape(*points.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True)
    ]


def ask(
    backend: Backend[Any], problem: Problem, points: Points, settings: InferenceSettings
) -> Iterator[Answer]:
    """Put points to a backend: as replicas where it takes them, else one by one.

    Parameters
    ----------
    problem
        The network and the batch; where in parameter space it stands does not matter.
    points
        One a row; they are rounded to the backend's dtype.
    """
    if Capability.REPLICAS not in backend.capabilities:
        for point in points:
            [answer] = _ask_block(backend, problem, split(problem.network, point), settings, None)
            yield answer
        return
    widths = problem.network.widths
    block = max(1, BLOCK // (len(problem.x) * sum(widths) * widths[-1]))
    for start in range(0, len(points), block):
        some = points[start : start + block]
        parameters = split(problem.network, some)
        yield from _ask_block(backend, problem, parameters, settings, len(some))


def _ask_block(
    backend: Backend[Any],
    problem: Problem,
    parameters: list[Float[np.ndarray, "..."]],
    settings: InferenceSettings,
    replicas: int | None,
) -> Iterator[Answer]:
    """Ask once; ``replicas`` is their number, ``None`` for parameters without that axis."""
    parameters = rounded(parameters, backend.dtype)
    model = backend.build(problem.network, parameters)
    x, y = backend.to_device(problem.x), backend.to_device(problem.y)
    reached = model.infer(x, y, settings)
    clamped = [*reached.activities[:-1], y]
    loss = backend.to_host(model.loss(x, y))
    by_loss = [backend.to_host(one) for one in model.loss_gradients(x, y)]
    by_energy = [backend.to_host(one) for one in model.energy_gradients(clamped)]
    result = InferenceResult.of(backend, reached)
    for index in [None] if replicas is None else range(replicas):

        def one(array: Any, index: int | None = index) -> Any:
            # An answer without the axis of replicas keeps its shape, which is then told as wrong.
            if array is None or index is None or array.shape[:1] != (replicas,):
                return array
            return array[index, ...]  # of a number an array, too

        yield Answer(
            problem.at([one(parameter) for parameter in parameters]),
            one(loss),
            result.each(one),
            {"loss": [one(g) for g in by_loss], "energy": [one(g) for g in by_energy]},
        )
