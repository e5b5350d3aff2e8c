"""Replicas: networks that are asked one after the other, and whose answers are stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from pcbench.backends.numpy.model import NumpyModel
from pcbench.backends.numpy.training import NumpyTrainer
from pcbench.contract.backend import Hessian, Inference, Model
from pcbench.contract.inference import InferenceSettings
from pcbench.contract.training import Record, Trainer, TrainingSettings

Array = Float[np.ndarray, "..."]
Answer = TypeVar("Answer")


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
        return np.stack([model.predict(_own(x, r)) for r, model in enumerate(self.models)])

    def loss(self, x: Array, y: Array, precision: Array | None = None) -> Array:
        """``𝓛`` of each."""
        return np.stack(self._each(lambda model, *batch: model.loss(*batch), x, y, precision))

    def loss_gradients(self, x: Array, y: Array, precision: Array | None = None) -> list[Array]:
        """``∂𝓛/∂θ`` of each."""
        each = self._each(lambda model, *batch: model.loss_gradients(*batch), x, y, precision)
        return _stacked(each)

    def infer(
        self, x: Array, y: Array, settings: InferenceSettings, precision: Array | None = None
    ) -> Inference[Array]:
        """Relax each by itself, also by ``ode``."""
        each = self._each(
            lambda model, x, y, precision: model.infer(x, y, settings, precision), x, y, precision
        )
        return _joined(each)

    def energies(self, activities: Sequence[Array], precision: Array | None = None) -> Array:
        """Energies of each."""
        return np.stack(
            [
                model.energies(*self._at(r, activities, precision))
                for r, model in enumerate(self.models)
            ]
        )

    def energy_gradients(
        self, activities: Sequence[Array], precision: Array | None = None
    ) -> list[Array]:
        """``∂𝓕/∂θ`` of each."""
        return _stacked(
            [
                model.energy_gradients(*self._at(r, activities, precision))
                for r, model in enumerate(self.models)
            ]
        )

    def loss_hessian(self, x: Array, y: Array, precision: Array | None = None) -> Hessian[Array]:
        """``∇²𝓛`` of each."""
        each = self._each(lambda model, *batch: model.loss_hessian(*batch), x, y, precision)
        return _Hessians(each)

    def energy_hessian(
        self,
        activities: Sequence[Array],
        precision: Array | None = None,
        residual: float | None = None,
    ) -> Hessian[Array]:
        """``∇²𝓕*`` of each."""
        return _Hessians(
            [
                model.energy_hessian(*self._at(r, activities, precision), residual)
                for r, model in enumerate(self.models)
            ]
        )

    def unrolled_hessian(self, x: Array, y: Array, steps: int, step: float) -> Hessian[Array]:
        """Hessian of the energy that each has reached after so many steps."""
        return _Hessians(
            [
                model.unrolled_hessian(_own(x, r), _own(y, r), steps, step)
                for r, model in enumerate(self.models)
            ]
        )

    def trainer(
        self, x: Array, y: Array, settings: TrainingSettings, precision: Array | None = None
    ) -> Trainer[Array]:
        """Begin to train copies, each by itself."""
        rates = np.broadcast_to(settings.learning_rate, len(self.models))
        return _Trainers(
            [
                model.trainer(x, y, replace(settings, learning_rate=float(rate)), precision)
                for model, rate in zip(self.models, rates, strict=True)
            ]
        )

    def _each(
        self, ask: Callable[..., Answer], x: Array, y: Array, precision: Array | None
    ) -> list[Answer]:
        """Ask each with its batch."""
        return [
            ask(model, _own(x, r), _own(y, r), _own_or_none(precision, r))
            for r, model in enumerate(self.models)
        ]

    def _at(
        self, r: int, activities: Sequence[Array], precision: Array | None
    ) -> tuple[list[Array], Array | None]:
        return [_own(z, r) for z in activities], _own_or_none(precision, r)


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


class _Trainers(Trainer[Array]):
    """A trainer a replica."""

    def __init__(self, trainers: Sequence[NumpyTrainer]) -> None:
        self._trainers = list(trainers)

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
        return Record(
            losses=np.stack([record.losses for record in records], axis=1),
            energies=np.stack([record.energies for record in records], axis=1),
            recorded=records[0].recorded,
            gradient_norms=np.stack([record.gradient_norms for record in records], axis=1),
            parameter_norms=np.stack([record.parameter_norms for record in records], axis=1),
            inference_steps=np.max([record.inference_steps for record in records], axis=0),
            residuals=np.stack([record.residuals for record in records], axis=1),
        )

    def parameters(self) -> list[Array]:
        """Bring weights, then biases, of all to the host."""
        return _stacked([trainer.parameters() for trainer in self._trainers])

    def keep(self, replicas: Sequence[int]) -> None:
        """Go on with these alone."""
        self._trainers = [self._trainers[r] for r in replicas]


def _own(array: Array, r: int) -> Array:
    """Return what belongs to a replica, of an array with an axis of them or without."""
    return array[r] if array.ndim == 3 else array


def _own_or_none(array: Array | None, r: int) -> Array | None:
    return None if array is None else _own(array, r)


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
