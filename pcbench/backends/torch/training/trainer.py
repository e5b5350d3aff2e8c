"""The training loop: steps on the device, and one visit to the host at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pcbench.backends.torch.model import LayeredModel
from pcbench.backends.torch.threads import threads_that_pay
from pcbench.backends.torch.training.optimisers import optimiser
from pcbench.backends.torch.training.rules import (
    Backpropagation,
    Batch,
    FewRows,
    PredictiveCoding,
    Rule,
)
from pcbench.backends.torch.training.slope import Slope, norm
from pcbench.contract.inference import ExactInference
from pcbench.contract.model import BackendUnavailableError
from pcbench.contract.training import Record, Trainer, TrainingSettings, check_run


class TorchTrainer(Trainer[Tensor]):
    """Trains a copy of a network.

    Parameters
    ----------
    model
        Where it starts; replicas learn side by side.
    x, y, precision
        All samples, on the device.
    settings
        The rule.

    Raises
    ------
    BackendUnavailableError
        If exact inference is asked of a network that is not linear.
    """

    model: LayeredModel

    def __init__(
        self,
        model: LayeredModel,
        x: Batch,
        y: Batch,
        settings: TrainingSettings,
        precision: Batch | None = None,
    ) -> None:
        exact = isinstance(settings.inference, ExactInference)
        if settings.objective == "energy" and exact and not model.solves_exactly:
            raise BackendUnavailableError(
                "engine: exact solves linear networks without biases; use engine: gauss_newton here"
            )
        self._data, self._settings = (x, y, precision), settings
        self._parameters = [parameter.clone() for parameter in model.parameters]
        self.model = model.along(self._parameters)
        rate = torch.as_tensor(settings.learning_rate, dtype=x.dtype, device=x.device)
        self._optimiser = optimiser(settings.optimiser, rate, settings.scale)

    def run(
        self, steps: int, batches: Int[np.ndarray, "T *R N"] | None = None, every: int = 1
    ) -> Record:
        """Take steps; nothing comes to the host before the last, but what engines look at.

        Raises
        ------
        ValueError, IndexError
            As of :func:`check_run`.
        """
        x, y, _ = self._data
        check_run(steps, batches, every, x.shape[-2])
        samples = len(x) if batches is None else batches.shape[-1]
        rule, rows = self._rule(samples, y.shape[-1])
        chosen = None if batches is None else torch.from_numpy(batches).to(x.device)
        replicas = self.model.layers[0].affine.replicas
        log = _Log(steps, every, replicas, len(self._parameters), x)
        with threads_that_pay(self.model.layers, rows, x.device):
            for step in range(steps):
                batch = self._batch(None if chosen is None else chosen[step])
                slope = rule(*batch)
                log.values(step, slope)
                if step % every == 0:
                    log.details(step, slope, self._parameters, rule.residual(*batch))
                self._optimiser.update(self._parameters, slope.gradients)
        return log.close()

    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        """Bring weights, then biases, to the host, in float64."""
        return [to_host(parameter) for parameter in self._parameters]

    def keep(self, replicas: Sequence[int]) -> None:
        """Go on with these replicas alone.

        Raises
        ------
        BackendUnavailableError
            If the network has no replicas.
        """
        if not self.model.layers[0].affine.replicas:
            raise BackendUnavailableError("a network without replicas has none to keep")
        kept = torch.tensor(list(replicas), device=self._data[0].device)
        self._parameters = [parameter[kept] for parameter in self._parameters]
        self.model = self.model.along(self._parameters)
        self._optimiser.keep(kept)

    def _rule(self, samples: int, outputs: int) -> tuple[Rule, int]:
        """Return the learning rule, and how many rows its products have."""
        settings, relaxed = self._settings, self._settings.objective == "energy"
        exact = isinstance(settings.inference, ExactInference) or not relaxed
        if self.model.solves_exactly and exact and outputs <= samples:
            return FewRows(self.model, self._parameters, relaxed=relaxed), outputs
        if relaxed:
            return PredictiveCoding(self.model, settings.inference), samples
        return Backpropagation(self.model), samples

    def _batch(self, rows: Int[Tensor, "*R N"] | None) -> tuple[Batch, Batch, Batch | None]:
        x, y, precision = self._data
        if rows is None:
            return x, y, precision
        return x[rows], y[rows], None if precision is None else precision[rows]


class _Log:
    """What a run leaves, on the device until it is closed."""

    def __init__(
        self, steps: int, every: int, replicas: torch.Size, parameters: int, like: Tensor
    ) -> None:
        self._recorded = np.arange(0, steps, every)
        self._every, self._inference_steps = every, np.zeros(len(self._recorded))
        self._losses, self._energies = like.new_empty(2, steps, *replicas)
        shape = (len(self._recorded), *replicas, parameters)
        self._gradient_norms, self._parameter_norms = like.new_empty(2, *shape)
        self._residuals = like.new_empty(shape[:-1])

    def values(self, step: int, slope: Slope) -> None:
        """Keep loss and energy."""
        self._losses[step], self._energies[step] = slope.loss, slope.energy

    def details(
        self, step: int, slope: Slope, parameters: Sequence[Tensor], residual: Tensor
    ) -> None:
        """Keep norms, and how inference went."""
        place, axes = step // self._every, self._residuals.dim() - 1
        for column, (gradient, parameter) in enumerate(
            zip(slope.gradients, parameters, strict=True)
        ):
            self._gradient_norms[place, ..., column] = norm(gradient, axes)
            self._parameter_norms[place, ..., column] = norm(parameter, axes)
        self._residuals[place] = residual
        self._inference_steps[place] = slope.inference_steps

    def close(self) -> Record:
        """Bring all of it to the host."""
        return Record(
            losses=to_host(self._losses),
            energies=to_host(self._energies),
            recorded=self._recorded,
            gradient_norms=to_host(self._gradient_norms),
            parameter_norms=to_host(self._parameter_norms),
            inference_steps=self._inference_steps,
            residuals=to_host(self._residuals),
        )


def to_host(array: Tensor) -> Float[np.ndarray, "..."]:
    """Bring an array to the host, in float64: a copy, also of float64 that is there already."""
    return array.cpu().to(torch.float64, copy=True).numpy()
