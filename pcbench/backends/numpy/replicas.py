"""Replicas: networks that are asked one after the other, and whose answers are stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pcbench.backends.numpy.model import NumpyModel
from pcbench.backends.numpy.training import NumpyTrainer
from pcbench.contract.inference import InferenceSettings
from pcbench.contract.model import Hessian, Inference, Model
from pcbench.contract.training import Record, Trainer, TrainingSettings

Array = Float[np.ndarray, "..."]


class Replicas(Model[Array]):
    """Networks of one shape, each with parameters of its own.

    Batches are shared, ``(N, d)``, or each has its own, ``(R, N, d)``.

    Parameters
    ----------
    models
        One a replica.
    """

    def __init__(self, models: Sequence[NumpyModel]) -> None:
        self.models = list(models)

    def predict(self, x: Array) -> Array:
        """``ŷ`` of each."""
        return np.stack(self._each("predict", x))

    def loss(self, x: Array, y: Array, precision: Array | None = None) -> Array:
        """``𝓛`` of each."""
        return np.stack(self._each("loss", x, y, precision))

    def loss_gradients(self, x: Array, y: Array, precision: Array | None = None) -> list[Array]:
        """``∂𝓛/∂θ`` of each."""
        return _stacked(self._each("loss_gradients", x, y, precision))

    def infer(
        self, x: Array, y: Array, settings: InferenceSettings, precision: Array | None = None
    ) -> Inference[Array]:
        """Relax each by itself, also by ``ode``."""
        return _joined(self._each("infer", x, y, settings, precision))

    def energies(self, activities: Sequence[Array], precision: Array | None = None) -> Array:
        """Energies of each."""
        return np.stack(self._each("energies", activities, precision))

    def energy_gradients(
        self, activities: Sequence[Array], precision: Array | None = None
    ) -> list[Array]:
        """``∂𝓕/∂θ`` of each."""
        return _stacked(self._each("energy_gradients", activities, precision))

    def loss_hessian(self, x: Array, y: Array, precision: Array | None = None) -> Hessian[Array]:
        """``∇²𝓛`` of each."""
        return _Hessians(self._each("loss_hessian", x, y, precision))

    def energy_hessian(
        self,
        activities: Sequence[Array],
        precision: Array | None = None,
        residual: float | None = None,
    ) -> Hessian[Array]:
        """``∇²𝓕*`` of each."""
        return _Hessians(self._each("energy_hessian", activities, precision, residual))

    def unrolled_hessian(self, x: Array, y: Array, steps: int, step: float) -> Hessian[Array]:
        """Hessian of the energy that each has reached after so many steps."""
        return _Hessians(self._each("unrolled_hessian", x, y, steps, step))

    def _each(self, method: str, *question: Any) -> list[Any]:
        """Ask every network its own part of a question."""
        return [
            getattr(model, method)(*(_own(part, r) for part in question))
            for r, model in enumerate(self.models)
        ]


class _Hessians(Hessian[Array]):
    """A Hessian a replica; vectors are shared, ``(K, P)``, or each has its own, ``(R, K, P)``."""

    def __init__(self, hessians: Sequence[Hessian[Array]]) -> None:
        self._hessians = list(hessians)

    @property
    def residual(self) -> float:  # type: ignore[override]
        """The largest of all."""
        return float(np.max([hessian.residual for hessian in self._hessians]))

    def product(self, vectors: Array) -> Array:
        """Multiply by each."""
        return np.stack(
            [hessian.product(_own(vectors, r)) for r, hessian in enumerate(self._hessians)]
        )


class ReplicaTrainer(Trainer[Array]):
    """A trainer a replica, each with its own learning rate if they differ."""

    def __init__(
        self,
        replicas: Replicas,
        x: Array,
        y: Array,
        settings: TrainingSettings,
        precision: Array | None = None,
    ) -> None:
        rates = np.broadcast_to(settings.learning_rate, len(replicas.models))
        self._trainers = [
            NumpyTrainer(model, x, y, replace(settings, learning_rate=float(rate)), precision)
            for model, rate in zip(replicas.models, rates, strict=True)
        ]

    @property
    def model(self) -> Replicas:  # type: ignore[override]
        """All networks at their current parameters."""
        return Replicas([trainer.model for trainer in self._trainers])

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *R N"] | None = None, every: int = 1
    ) -> Record:
        """Let each take its steps."""
        records = []
        for r, trainer in enumerate(self._trainers):
            own = batches[:, r] if batches is not None and batches.ndim == 3 else batches
            records.append(trainer.run(steps, own, every))

        def stacked(field: str) -> Array:
            return np.stack([getattr(record, field) for record in records], axis=1)

        return Record(
            losses=stacked("losses"),
            energies=stacked("energies"),
            recorded=records[0].recorded,
            gradient_norms=stacked("gradient_norms"),
            parameter_norms=stacked("parameter_norms"),
            inference_steps=np.max([record.inference_steps for record in records], axis=0),
            residuals=stacked("residuals"),
        )

    def parameters(self) -> list[Array]:
        """Bring weights, then biases, of all to the host."""
        return _stacked([trainer.parameters() for trainer in self._trainers])

    def keep(self, replicas: Sequence[int]) -> None:
        """Go on with these alone."""
        self._trainers = [self._trainers[r] for r in replicas]


def _own(part: Any, r: int) -> Any:
    """Return what belongs to a replica, of arrays with an axis of them or without."""
    if isinstance(part, list | tuple):
        return [_own(array, r) for array in part]
    return part[r] if isinstance(part, np.ndarray) and part.ndim == 3 else part


def _stacked(each: Sequence[Sequence[Array]]) -> list[Array]:
    return [np.stack(arrays) for arrays in zip(*each, strict=True)]


def _joined(each: Sequence[Inference[Array]]) -> Inference[Array]:
    """Join answers; a path that has ended stays where it is."""
    steps = max(answer.steps for answer in each)
    passes = [answer.passes for answer in each if answer.passes is not None]
    samples = [answer.sample_residuals for answer in each if answer.sample_residuals is not None]
    paths = [answer.path for answer in each if answer.path is not None]
    return Inference(
        activities=_stacked([answer.activities for answer in each]),
        energies=np.stack([answer.energies for answer in each]),
        steps=steps,
        residual=np.stack([answer.residual for answer in each]),
        converged=all(answer.converged for answer in each),
        passes=max(passes) if passes else None,
        sample_residuals=np.stack(samples),
        path=np.stack([_lengthened(path, steps) for path in paths]) if paths else None,
    )


def _lengthened(path: Array, steps: int) -> Array:
    return path[np.minimum(np.arange(steps + 1), len(path) - 1)]
