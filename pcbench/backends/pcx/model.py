"""A network in PCX: its modules, and what turns their answers into the contract's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import jax
from jaxtyping import Float

from pcbench.backends._on_jax.residual import close
from pcbench.backends._on_jax.settled import settled
from pcbench.backends.pcx import functions
from pcbench.backends.pcx.network import Network
from pcbench.contract.inference import GradientInference, InferenceSettings
from pcbench.contract.model import BackendUnavailableError, Inference, Model
from pcbench.networks import NetworkSpec

Batch = Float[jax.Array, "N _d"]
Computing = Callable[..., AbstractContextManager[None]]


class PcxModel(Model[jax.Array]):
    """A network of PCX's modules.

    PCX's modules keep what they compute; here every call begins and ends without activities.

    Parameters
    ----------
    network
        Its specification.
    parameters
        ``W_1 … W_L``, then ``b_1 … b_L`` where it has biases.
    computing
        The surroundings, with the backend's dtype, that every call is made in.
    """

    def __init__(
        self, network: NetworkSpec, parameters: Sequence[jax.Array], computing: Computing
    ) -> None:
        self._computing = computing
        with computing():
            self._network = Network(network, parameters)

    @settled
    def predict(self, x: Batch) -> Batch:
        """The input ``u`` of the last ``Vode``, after a forward pass."""
        with self._computing():
            return functions.predict(x, network=self._network)

    @settled
    def loss(self, x: Batch, y: Batch, precision: Batch | None = None) -> Float[jax.Array, ""]:
        """The energy after a forward pass with the output at its target."""
        with self._computing(precision):
            return functions.loss(x, y, network=self._network)[0]

    @settled
    def loss_gradients(
        self, x: Batch, y: Batch, precision: Batch | None = None
    ) -> list[Float[jax.Array, "..."]]:
        """Gradients of that energy through the forward pass."""
        with self._computing(precision):
            return functions.loss(x, y, network=self._network)[1]

    @settled
    def infer(
        self, x: Batch, y: Batch, settings: InferenceSettings, precision: Batch | None = None
    ) -> Inference[jax.Array]:
        """Relax the hidden activities with input and output clamped.

        Raises
        ------
        BackendUnavailableError
            If PCX has no such engine.
        """
        if not isinstance(settings, GradientInference):
            raise BackendUnavailableError(
                f"PCX has no engine {settings.engine}; use engine: gradient"
            )
        if settings.halve:
            raise BackendUnavailableError("PCX keeps a step as it is; leave preset and halve out")
        with self._computing(precision):
            hidden, energies, taken, squares, start, path = functions.relax(
                settings.max_steps + 1 if settings.record else 0,
                settings.model_dump(include={"step", "residual", "max_steps"}),
                x,
                y,
                network=self._network,
            )
            steps = int(taken)
            path = None if path is None else path[: steps + 1]
            activities = [x, *hidden, y]
            return close(activities, energies, steps, squares, start, settings.residual, path)

    @settled
    def energies(
        self, activities: Sequence[Batch], precision: Batch | None = None
    ) -> Float[jax.Array, " L"]:
        """``Vode.energy`` of every layer, its mean over the batch."""
        with self._computing(precision):
            return functions.energies(activities, network=self._network)[0]

    @settled
    def energy_gradients(
        self, activities: Sequence[Batch], precision: Batch | None = None
    ) -> list[Float[jax.Array, "..."]]:
        """Gradients of the energy in the parameters, their mean over the batch."""
        with self._computing(precision):
            return functions.energies(activities, network=self._network)[1]
