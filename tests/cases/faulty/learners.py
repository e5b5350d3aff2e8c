"""Backends that train by another rule than they are asked to, or take other steps."""

from __future__ import annotations

from dataclasses import replace

from pcbench.backends.torch import TorchBackend

LEARNER_FAULTS: dict[str, type[TorchBackend]] = {}


def fault(backend: type[TorchBackend]) -> type[TorchBackend]:
    """Put a backend into the catalogue."""
    LEARNER_FAULTS[backend.__name__] = backend
    return backend


class Retrained(TorchBackend):
    """Correct but for what it makes of the settings of training."""

    @staticmethod
    def settings(asked):
        raise NotImplementedError

    def trainer(self, model, x, y, settings, precision=None):
        return super().trainer(model, x, y, self.settings(settings), precision)


@fault
class PredictiveCodingIsBackpropagation(Retrained):
    """The activities are not inferred: the energy is the loss."""

    @staticmethod
    def settings(asked):
        return replace(asked, objective="loss")


@fault
class BackpropagationIsPredictiveCoding(Retrained):
    """Both learners infer."""

    @staticmethod
    def settings(asked):
        return replace(asked, objective="energy")


@fault
class TwiceTheStep(Retrained):
    """A factor of 2 lost from the objective."""

    @staticmethod
    def settings(asked):
        return replace(asked, learning_rate=2 * asked.learning_rate)


@fault
class AscentByPredictiveCoding(Retrained):
    """PC's gradient has the wrong sign."""

    @staticmethod
    def settings(asked):
        return replace(asked, scale=-1.0) if asked.objective == "energy" else asked


@fault
class AscentByBackpropagation(Retrained):
    """BP's gradient has the wrong sign."""

    @staticmethod
    def settings(asked):
        return replace(asked, scale=-1.0) if asked.objective == "loss" else asked
