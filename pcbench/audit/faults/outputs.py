"""Mistakes in what comes out: predictions and losses."""

from __future__ import annotations

from typing import Any

from pcbench.audit.wrappers import FaultyModel
from pcbench.contract.parts import Part


class OffsetPrediction(FaultyModel):
    """An offset of 0.1 was left in the prediction."""

    part = Part.PREDICTION

    def predict(self, x: Any) -> Any:
        """Shift it."""
        return self.changed(super().predict(x), lambda outputs: outputs + 0.1)


class ShuffledPrediction(FaultyModel):
    """Predictions come in the opposite order of the samples."""

    part = Part.PREDICTION

    def predict(self, x: Any) -> Any:
        """Turn the samples round."""
        return self.changed(super().predict(x), lambda outputs: outputs[..., ::-1, :])


class LossWithoutHalf(FaultyModel):
    """The loss lacks its factor of one half."""

    part = Part.LOSS

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Double it."""
        return self.changed(super().loss(x, y, precision), lambda loss: 2 * loss)


class LossSummed(FaultyModel):
    """The loss is summed over the batch, where a mean is due."""

    part = Part.LOSS

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Multiply it by the size of the batch."""
        samples = self.host(y).shape[-2]
        return self.changed(super().loss(x, y, precision), lambda loss: samples * loss)


class LossAveragedOverOutputs(FaultyModel):
    """The loss is averaged over outputs as well, as ``mse_loss`` does."""

    part = Part.LOSS

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Divide it by the number of outputs."""
        outputs = self.network.widths[-1]
        return self.changed(super().loss(x, y, precision), lambda loss: loss / outputs)


class LossOfRootMeanSquare(FaultyModel):
    """The loss is the norm of the errors, not its square."""

    part = Part.LOSS

    def loss(self, x: Any, y: Any, precision: Any = None) -> Any:
        """Take the root."""
        return self.changed(super().loss(x, y, precision), lambda loss: loss**0.5)


FAULTS = (
    OffsetPrediction,
    ShuffledPrediction,
    LossWithoutHalf,
    LossSummed,
    LossAveragedOverOutputs,
    LossOfRootMeanSquare,
)
