"""How training is asked for, and what it leaves behind.

A :class:`Trainer` holds a model's parameters, an optimiser's state and the data on the device, and
takes steps; which batches, how many and when to stop is for the caller to say. It comes to the host
once a call of :meth:`Trainer.run`, not once a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, TypeVar

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from pcbench.contract.inference import ExactInference, InferenceSettings
from pcbench.contract.model import Model

Array = TypeVar("Array")
Objective = Literal["loss", "energy"]
Batches = Int[np.ndarray, "T *#R N"] | None
"""Rows of the data that each of ``T`` steps sees; ``None`` for all rows at every step."""


class Sgd(BaseModel):
    """Gradient descent, ``θ ← θ - η g``; stochastic where batches are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: Literal["sgd"] = "sgd"


class Adam(BaseModel):
    """Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: Literal["adam"] = "adam"
    beta_1: float = Field(0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta_2: float = Field(0.999, ge=0, lt=1, description="Decay of the second moment.")
    epsilon: PositiveFloat = 1e-8


Optimiser = Annotated[Sgd | Adam, Field(discriminator="optimiser")]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """By which rule parameters learn.

    Attributes
    ----------
    objective
        ``loss``: gradients of ``𝓛``, that is backpropagation. ``energy``: inference, then local
        gradients of ``𝓕`` at the activities reached, that is predictive coding.
    optimiser
        With a state of its own for every replica.
    learning_rate
        ``η``, one for all replicas, or one each, ``(R,)``.
    scale
        What gradients are multiplied by before the optimiser sees them: 1 for the normalisation of
        the contract, ``1/(2N)`` in both objectives.
    inference
        How predictive coding infers; backpropagation does not look at it.
    """

    objective: Objective
    optimiser: Sgd | Adam
    learning_rate: float | Float[np.ndarray, " R"]
    scale: float = 1.0
    inference: InferenceSettings = field(default_factory=ExactInference)


@dataclass(frozen=True, slots=True)
class Record:
    """What a run of ``T`` steps left, on the host; every number is of before the step's update.

    Replicas are the last axis, or the one before the parameters'; a model without replicas has no
    such axis.

    Attributes
    ----------
    losses
        ``𝓛`` of each step's batch at the parameters that the step began with, ``(T, *R)``.
    energies
        The energy that inference reached, ``(T, *R)``; of backpropagation the loss.
    recorded
        The ``K`` steps, counted from 0 within the run, that the rest was recorded at.
    gradient_norms
        Frobenius norm of the objective's gradient, as the contract normalises it, for each array
        of parameters in their order, ``(K, *R, P)``.
    parameter_norms
        Frobenius norm of each array of parameters, ``(K, *R, P)``.
    inference_steps
        Steps that inference took, ``(K,)``; 0 of a closed form, and of backpropagation.
    residuals
        Relative residual that inference reached, ``(K, *R)``; 0 of backpropagation.
    """

    losses: Float[np.ndarray, "T *R"]
    energies: Float[np.ndarray, "T *R"]
    recorded: Int[np.ndarray, " K"]
    gradient_norms: Float[np.ndarray, "K *R P"]
    parameter_norms: Float[np.ndarray, "K *R P"]
    inference_steps: Float[np.ndarray, " K"]
    residuals: Float[np.ndarray, "K *R"]


class Trainer(ABC, Generic[Array]):
    """A network that learns. It has parameters of its own: the model it came from stays as it is.

    Attributes
    ----------
    model
        The network at its current parameters; it moves on with every run, and what was made of it
        before, such as a Hessian, is of no more use then.
    """

    model: Model[Array]

    @abstractmethod
    def run(self, steps: int, batches: Batches = None, every: int = 1) -> Record:
        """Take ``T = steps`` steps.

        Parameters
        ----------
        steps
            How many; at least one.
        batches
            Rows of the data, one batch a step: the same for all replicas, ``(T, N)``, or for each
            its own, ``(T, R, N)``. All samples if not given.
        every
            Norms and residuals are recorded at the first step and every so many after it.

        Raises
        ------
        ValueError, IndexError
            As of :func:`check_run`.
        """

    @abstractmethod
    def parameters(self) -> list[Float[np.ndarray, "*R ..."]]:
        """Bring weights, then biases, to the host."""

    @abstractmethod
    def keep(self, replicas: Sequence[int]) -> None:
        """Go on with these replicas alone, in this order, each with its optimiser's state.

        No replica is named twice.

        Raises
        ------
        BackendUnavailableError
            If the network has no replicas.
        """


def check_run(steps: int, batches: Batches, every: int, samples: int) -> None:
    """Refuse what :meth:`Trainer.run` cannot do, before a step is taken.

    Raises
    ------
    ValueError
        If there is no step, nothing to record, or another number of batches than of steps.
    IndexError
        If a batch has a row that the data have not.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"a run takes and records a step at least, not {steps} and every {every}")
    if batches is None:
        return
    if len(batches) != steps:
        raise ValueError(f"a run of {steps} steps takes as many batches, not {len(batches)}")
    if ((batches < -samples) | (batches >= samples)).any():
        raise IndexError(f"a batch has a row that is none of the {samples} of the data")
