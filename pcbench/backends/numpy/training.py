"""The training loop of one network, step by step as its settings describe it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from pcbench.backends.numpy.engines.exact import refuse_bent_layers
from pcbench.backends.numpy.model import NumpyModel
from pcbench.backends.numpy.optimisers import Optimiser, optimiser
from pcbench.contract.inference import ExactInference
from pcbench.contract.model import BackendUnavailableError
from pcbench.contract.training import Record, Trainer, TrainingSettings, check_run

Batch = Float[np.ndarray, "N _d"]
Array = Float[np.ndarray, "..."]


class NumpyTrainer(Trainer[Array]):
    """Trains a copy of a network.

    Parameters
    ----------
    model
        Where it starts.
    x, y, precision
        All samples.
    settings
        The rule; the learning rate is one number.

    Raises
    ------
    BackendUnavailableError
        If exact inference is asked of a network with activations or pooling.
    """

    model: NumpyModel

    def __init__(
        self,
        model: NumpyModel,
        x: Batch,
        y: Batch,
        settings: TrainingSettings,
        precision: Batch | None = None,
    ) -> None:
        if settings.objective == "energy" and isinstance(settings.inference, ExactInference):
            refuse_bent_layers(model.layers)
        self.model, self._settings = model, settings
        self._data = (x, y, precision)
        self._optimiser: Optimiser = optimiser(settings)

    @np.errstate(all="ignore")
    def run(
        self, steps: int, batches: Int[np.ndarray, "T N"] | None = None, every: int = 1
    ) -> Record:
        """Take steps.

        Raises
        ------
        ValueError, IndexError
            As of :func:`check_run`.
        """
        x, y, precision = self._data
        check_run(steps, batches, every, len(x))
        losses, energies, details = [], [], []
        for step in range(steps):
            rows = slice(None) if batches is None else batches[step]
            seen = None if precision is None else precision[rows]
            loss, energy, gradients, inference = self._slope(x[rows], y[rows], seen)
            losses.append(loss)
            energies.append(energy)
            if step % every == 0:
                details.append((step, norms(gradients), norms(self.model.parameters), *inference))
            self.model = self.model.along(self._optimiser.updated(self.model.parameters, gradients))
        recorded, gradient_norms, parameter_norms, inference_steps, residuals = zip(
            *details, strict=True
        )
        return Record(
            losses=np.array(losses),
            energies=np.array(energies),
            recorded=np.array(recorded),
            gradient_norms=np.array(gradient_norms),
            parameter_norms=np.array(parameter_norms),
            inference_steps=np.array(inference_steps, float),
            residuals=np.array(residuals),
        )

    def parameters(self) -> list[Array]:
        """Bring weights, then biases, to the host: copies."""
        return [parameter.copy() for parameter in self.model.parameters]

    def keep(self, replicas: Sequence[int]) -> None:
        """Refuse: a network without replicas has none to choose from.

        Raises
        ------
        BackendUnavailableError
            Always.
        """
        raise BackendUnavailableError("a network without replicas has none to keep")

    def _slope(
        self, x: Batch, y: Batch, precision: Batch | None
    ) -> tuple[float, float, list[Array], tuple[int, float]]:
        """Return loss, energy, gradients, and how inference went: its steps and its residual."""
        loss = float(self.model.loss(x, y, precision))
        if self._settings.objective == "loss":
            return loss, loss, self.model.loss_gradients(x, y, precision), (0, 0.0)
        reached = self.model.infer(x, y, self._settings.inference, precision)
        gradients = self.model.energy_gradients(reached.activities, precision)
        went = (reached.steps, float(reached.residual))
        return loss, float(reached.energies.sum()), gradients, went


def norms(arrays: Sequence[Array]) -> list[float]:
    """Frobenius norms."""
    return [float(np.linalg.norm(array)) for array in arrays]
