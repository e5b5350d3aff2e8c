"""Mistakes with numbers that are none, and with no samples: something is made of nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from pcbench.audit.traits import Trait
from pcbench.audit.wrappers import FaultyBackend, FaultyModel, Host
from pcbench.contract import Capability, Inference, InferenceSettings, Model
from pcbench.contract.parts import Part
from pcbench.networks import NetworkSpec


class SamplesWithNanDropped(FaultyModel):
    """Samples with NaN in their input are left out, and predictions have a row less."""

    part = Part.ROBUSTNESS

    def predict(self, x: Any) -> Any:
        """Choose the rows that are whole."""
        host = self.host(x)
        whole = np.isfinite(host).all(axis=-1)
        return super().predict(x if whole.all() else self.device(host[whole]))


class NanInputIsZero(FaultyModel):
    """NaN in an input is replaced by zero, as in the cleaning of data."""

    part = Part.ROBUSTNESS

    def predict(self, x: Any) -> Any:
        """Replace it."""
        return super().predict(self.changed(x, np.nan_to_num))


class NanBiasIsZero(FaultyBackend):
    """NaN in a bias is replaced by zero when the model is built."""

    part = Part.ROBUSTNESS
    needs: ClassVar[frozenset[str]] = frozenset({Trait.BIAS})

    def build(self, network: NetworkSpec, parameters: Sequence[Host]) -> Model[Any]:
        """Replace it."""
        biases = [np.nan_to_num(bias) for bias in parameters[network.n_layers :]]
        return super().build(network, [*parameters[: network.n_layers], *biases])


class NanTargetIsUnobserved(FaultyModel):
    """A target that is NaN is taken for one that is not observed, whatever its precision says."""

    part = Part.ROBUSTNESS
    needs: ClassVar[frozenset[str]] = frozenset({Capability.PRECISION})

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Do without it."""
        return super().loss(x, y, self._without(y, precision))

    def loss_gradients(self, x: Any, y: Any, precision: Any = None) -> Sequence[Any]:
        """Do without it."""
        return super().loss_gradients(x, y, self._without(y, precision))

    def _without(self, y: Any, precision: Any) -> Any:
        if precision is None:
            return None
        return self.changed(precision, lambda host: np.where(np.isnan(self.host(y)), 0, host))


class NothingIsLost(FaultyModel):
    """The loss of no samples is zero, against a division by zero."""

    part = Part.ROBUSTNESS

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Say so."""
        if self.host(x).shape[-2]:
            return super().loss(x, y, precision)
        return self.device(np.zeros(self.parameters[0].shape[: int(self.replicated)]))


class NanHasConverged(FaultyModel):
    """Inference goes on while the residual is too large, and NaN is not too large."""

    part = Part.ROBUSTNESS

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Say that it has converged."""
        reached = super().infer(x, y, settings, precision)
        if np.isfinite(self.host(reached.residual)).all():
            return reached
        return replace(reached, converged=True)


FAULTS = (
    SamplesWithNanDropped,
    NanInputIsZero,
    NanBiasIsZero,
    NanTargetIsUnobserved,
    NothingIsLost,
    NanHasConverged,
)
