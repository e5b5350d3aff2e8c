"""Optimisers by their definitions, and the training loop, step by step as its settings say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pcbench.backends.numpy.engines import refuse_bent_layers
from pcbench.backends.numpy.model import NumpyModel, Replicas, stacked
from pcbench.contract import BackendUnavailableError, ExactInference
from pcbench.contract.training import Adam, Batches, Record, Trainer, TrainingSettings, check_run

Array = Float[np.ndarray, "..."]


class Optimiser:
    """``θ ← θ - η s g``, or Adam (Kingma & Ba 2015, algorithm 1), line by line."""

    def __init__(self, settings: TrainingSettings, rate: float) -> None:
        self._adam = settings.optimiser if isinstance(settings.optimiser, Adam) else None
        self._rate, self._scale, self._t = rate, settings.scale, 0
        self._m: list[Array] = []
        self._v: list[Array] = []

    def updated(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """Return the parameters after one step."""
        if self._adam is None:
            return [
                parameter - self._rate * self._scale * gradient
                for parameter, gradient in zip(parameters, gradients, strict=True)
            ]
        beta_1, beta_2 = self._adam.beta_1, self._adam.beta_2
        scaled = [self._scale * gradient for gradient in gradients]
        nothing = [np.zeros_like(gradient) for gradient in scaled]
        self._t += 1
        self._m = _decayed(self._m or nothing, scaled, beta_1)
        self._v = _decayed(self._v or nothing, [g**2 for g in scaled], beta_2)
        m_hat = [m / (1 - beta_1**self._t) for m in self._m]
        v_hat = [v / (1 - beta_2**self._t) for v in self._v]
        return [
            parameter - self._rate * m / (np.sqrt(v) + self._adam.epsilon)
            for parameter, m, v in zip(parameters, m_hat, v_hat, strict=True)
        ]


def _decayed(kept: list[Array], new: list[Array], beta: float) -> list[Array]:
    return [beta * k + (1 - beta) * n for k, n in zip(kept, new, strict=True)]


_FIELDS = (
    "losses",
    "energies",
    "gradient_norms",
    "parameter_norms",
    "inference_steps",
    "residuals",
)


class NumpyTrainer(Trainer[Array]):
    """Trains a copy of a network, or of replicas, one after the other."""

    def __init__(
        self,
        model: NumpyModel | Replicas,
        x: Array,
        y: Array,
        settings: TrainingSettings,
        precision: Array | None = None,
    ) -> None:
        self._replicated = isinstance(model, Replicas)
        self._models = model.models[:] if isinstance(model, Replicas) else [model]
        if settings.objective == "energy" and isinstance(settings.inference, ExactInference):
            refuse_bent_layers(self._models[0].layers)
        self._data, self._settings = (x, y, precision), settings
        rates = np.broadcast_to(settings.learning_rate, len(self._models))
        self._optimisers = [Optimiser(settings, float(rate)) for rate in rates]

    @property
    def model(self) -> NumpyModel | Replicas:  # type: ignore[override]
        """The network, or all of them, at the current parameters."""
        return Replicas(self._models) if self._replicated else self._models[0]

    @np.errstate(all="ignore")
    def run(self, steps: int, batches: Batches = None, every: int = 1) -> Record:
        """Let each network take its steps."""
        check_run(steps, batches, every, len(self._data[0]))
        own = batches is not None and batches.ndim == 3
        runs = [
            self._run(r, steps, batches[:, r] if own and batches is not None else batches, every)
            for r in range(len(self._models))
        ]
        taken = np.max([run.pop("inference_steps") for run in runs], axis=0)
        left = {
            name: np.stack([run[name] for run in runs], axis=1) if self._replicated else array
            for name, array in runs[0].items()
        }
        return Record(recorded=np.arange(0, steps, every), inference_steps=taken, **left)

    def parameters(self) -> list[Array]:
        """Bring weights, then biases, to the host: copies."""
        copies = [[parameter.copy() for parameter in model.parameters] for model in self._models]
        return stacked(copies) if self._replicated else copies[0]

    def keep(self, replicas: Sequence[int]) -> None:
        """Go on with these alone."""
        if not self._replicated:
            raise BackendUnavailableError("a network without replicas has none to keep")
        self._models = [self._models[r] for r in replicas]
        self._optimisers = [self._optimisers[r] for r in replicas]

    def _run(self, r: int, steps: int, batches: Batches, every: int) -> dict[str, Array]:
        x, y, precision = self._data
        each, looks = [], []
        for step in range(steps):
            rows = slice(None) if batches is None else batches[step]
            seen = None if precision is None else precision[rows]
            model = self._models[r]
            loss, energy, gradients, *went = self._slope(model, x[rows], y[rows], seen)
            each.append((loss, energy))
            if step % every == 0:
                looks.append((_norms(gradients), _norms(model.parameters), *went))
            self._models[r] = model.along(self._optimisers[r].updated(model.parameters, gradients))
        columns = [*zip(*each, strict=True), *zip(*looks, strict=True)]
        return {name: np.array(left, float) for name, left in zip(_FIELDS, columns, strict=True)}

    def _slope(
        self, model: NumpyModel, x: Array, y: Array, precision: Array | None
    ) -> tuple[float, float, list[Array], int, float]:
        """Return loss, energy, gradients, and inference's steps and residual."""
        loss = float(model.loss(x, y, precision))
        if self._settings.objective == "loss":
            return loss, loss, model.loss_gradients(x, y, precision), 0, 0.0
        reached = model.infer(x, y, self._settings.inference, precision)
        gradients = model.energy_gradients(reached.activities, precision)
        energy = float(reached.energies.sum())
        return loss, energy, gradients, reached.steps, float(reached.residual)


def _norms(arrays: Sequence[Array]) -> list[float]:
    return [float(np.linalg.norm(array)) for array in arrays]
