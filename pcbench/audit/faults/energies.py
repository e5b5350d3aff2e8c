"""Mistakes in energies, of given activities and as inference reports them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pcbench.audit.wrappers import FaultyModel, Host
from pcbench.contract import Inference, InferenceSettings
from pcbench.contract.parts import Part


class _Energies(FaultyModel):
    """Energies of the layers with a change, wherever they are reported."""

    part = Part.ENERGIES

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Change those that inference reports."""
        reached = super().infer(x, y, settings, precision)
        samples = self.host(x).shape[-2]
        energies = self.changed(reached.energies, lambda host: self.change(host, samples))
        return replace(reached, energies=energies)

    def energies(self, activities: Sequence[Any], precision: Any = None) -> Any:
        """Change them."""
        samples = self.host(activities[0]).shape[-2]
        honest = super().energies(activities, precision)
        return self.changed(honest, lambda host: self.change(host, samples))

    @abstractmethod
    def change(self, energies: Host, samples: int) -> Any:
        """Return ``(*R, L)`` energies with the mistake."""


class EnergiesWithoutHalf(_Energies):
    """Energies lack their factor of one half."""

    def change(self, energies: Host, samples: int) -> Any:
        """Double them."""
        return 2 * energies


class EnergiesSummed(_Energies):
    """Energies are summed over the batch, where a mean is due."""

    def change(self, energies: Host, samples: int) -> Any:
        """Multiply by the size of the batch."""
        return samples * energies


class EnergiesAveragedOverUnits(_Energies):
    """Each layer's energy is averaged over its units as well."""

    def change(self, energies: Host, samples: int) -> Any:
        """Divide by the widths."""
        return energies / np.asarray(self.network.widths[1:])


class OutputEnergyOnly(_Energies):
    """Only the output layer's energy is counted."""

    def change(self, energies: Host, samples: int) -> Any:
        """Let the hidden layers have none."""
        return energies * (np.arange(energies.shape[-1]) == energies.shape[-1] - 1)


class OutputEnergyForgotten(_Energies):
    """The output layer's energy is left out, as the loop over hidden layers ends before it."""

    def change(self, energies: Host, samples: int) -> Any:
        """Let the output have none."""
        return energies * (np.arange(energies.shape[-1]) < energies.shape[-1] - 1)


class EnergiesInReverse(_Energies):
    """Energies are listed from the output down."""

    def change(self, energies: Host, samples: int) -> Any:
        """Turn the list round."""
        return energies[..., ::-1]


class EnergyBeforeInference(FaultyModel):
    """The energy that is reported is that of the forward pass, before inference."""

    part = Part.ENERGIES

    def infer(
        self, x: Any, y: Any, settings: InferenceSettings, precision: Any = None
    ) -> Inference[Any]:
        """Give the loss to the output layer, and nothing to the others."""
        reached = super().infer(x, y, settings, precision)
        loss = self.host(super().loss(x, y, precision))
        last = np.arange(self.network.n_layers) == self.network.n_layers - 1
        return replace(reached, energies=self.device(loss[..., None] * last))


FAULTS = (
    EnergiesWithoutHalf,
    EnergiesSummed,
    EnergiesAveragedOverUnits,
    OutputEnergyOnly,
    OutputEnergyForgotten,
    EnergiesInReverse,
    EnergyBeforeInference,
)
