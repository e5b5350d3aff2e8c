"""Inference asked of a backend in any network, and where it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from pcbench.case import CaseSkippedError, Omission
from pcbench.contract import Backend, Capability, Inference, InferenceSettings, Model
from pcbench.judges.problem import Problem
from pcbench.networks import NetworkParameters

NEVER = 1e-300
"""A residual that no engine reaches: it takes all the steps that it is given."""


def needs(
    network: NetworkParameters, engines: dict[str, InferenceSettings], *, masked: bool = False
) -> frozenset[str]:
    """Return what a backend must offer for a network and engines, and unobserved outputs."""
    needed: set[str] = {settings.capability for settings in engines.values()}
    if masked:
        needed.add(Capability.PRECISION)
    if network.convolutions:
        needed.add(Capability.CONVOLUTIONS)
    if network.activation != "identity" or network.bias:
        needed.add(Capability.NONLINEAR)
    return frozenset(needed)


def training_needs(
    network: NetworkParameters, inference: InferenceSettings, *, masked: bool = False
) -> frozenset[str]:
    """Return what it takes to train replicas of a network by PC with this inference, and by BP."""
    return needs(network, {"PC": inference}, masked=masked) | {
        Capability.TRAINING,
        Capability.REPLICAS,
    }


def engines_of(
    backend: Backend[Any], engines: dict[str, InferenceSettings]
) -> tuple[dict[str, InferenceSettings], list[Omission]]:
    """Return the engines that a backend offers, by name, and of each other one that it is left out.

    Raises
    ------
    CaseSkippedError
        If it offers none of them.
    """
    offered = {
        label: settings
        for label, settings in engines.items()
        if settings.capability in backend.capabilities
    }
    lacking = {
        label: f"the backend {backend.name!r} does not offer {settings.capability}"
        for label, settings in engines.items()
        if label not in offered
    }
    if not offered:
        missing = ", ".join(sorted({settings.capability for settings in engines.values()}))
        raise CaseSkippedError(f"the backend {backend.name!r} does not offer {missing}")
    return offered, [Omission(f"engine {label}", reason) for label, reason in lacking.items()]


def infer(
    backend: Backend[Any], model: Model[Any], problem: Problem, settings: InferenceSettings
) -> Inference[Any]:
    """Ask for inference; a precision is only mentioned where there is one."""
    x, y = backend.to_device(problem.x), backend.to_device(problem.y)
    if problem.precision is None:
        return model.infer(x, y, settings)
    return model.infer(x, y, settings, backend.to_device(problem.precision))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Relaxed:
    """An answer to ``infer``, brought to the host; see :class:`pcbench.backends.Inference`.

    Two answers are the same only if they are one object, so that what is known of one can be kept.
    """

    activities: list[Float[np.ndarray, "..."]]
    energies: Float[np.ndarray, "..."]
    residual: Float[np.ndarray, "..."]
    steps: int
    converged: bool
    passes: float | None
    sample_residuals: Float[np.ndarray, "..."] | None
    path: Float[np.ndarray, "..."] | None

    @classmethod
    def ask(
        cls, backend: Backend[Any], model: Model[Any], problem: Problem, settings: InferenceSettings
    ) -> Relaxed:
        """Put one batch to the backend."""
        return cls.of(backend, infer(backend, model, problem, settings))

    @classmethod
    def of(cls, backend: Backend[Any], reached: Inference[Any]) -> Relaxed:
        """Bring an answer to the host, with the replica axis that it may have."""

        def host(array: Any) -> Any:
            return None if array is None else backend.to_host(array)

        return cls(
            [host(activity) for activity in reached.activities],
            host(reached.energies),
            host(reached.residual),
            reached.steps,
            reached.converged,
            reached.passes,
            host(reached.sample_residuals),
            host(reached.path),
        )

    def each(self, one: Callable[[Any], Any]) -> Relaxed:
        """Return the answer with a function applied to every array, ``None`` included."""
        return replace(
            self,
            activities=[one(activity) for activity in self.activities],
            energies=one(self.energies),
            residual=one(self.residual),
            sample_residuals=one(self.sample_residuals),
            path=one(self.path),
        )

    @property
    def energy(self) -> float:
        """The energy that inference says it reached."""
        return float(self.energies.sum())

    def first(self, samples: int) -> Relaxed:
        """Return the first samples alone; energies and residual stay those of the whole batch."""
        return replace(self, activities=[activity[:samples] for activity in self.activities])
