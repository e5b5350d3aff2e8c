"""Backends whose training has one deliberate mistake each, around the correct one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from pcbench.backends.torch import TorchBackend

COMPLETION_FAULTS: dict[str, type[TorchBackend]] = {}


class WithTraining(TorchBackend):
    """Correct but for how trainers are made, and for what they say."""

    def begin(self, honest, x, y, settings, precision):
        """Make a trainer."""
        return honest(x, y, settings, precision)

    def report(self, record, objective):
        """Say what a run left."""
        return record

    def trainer(self, model, x, y, settings, precision=None):
        made = self.begin(partial(super().trainer, model), x, y, settings, precision)
        run = made.run
        made.run = lambda *asked: self.report(run(*asked), settings.objective)
        return made


def fault(backend: type[TorchBackend]) -> type[TorchBackend]:
    """Put a backend into the catalogue."""
    COMPLETION_FAULTS[backend.__name__] = backend
    return backend


@fault
class SeesEverything(WithTraining):
    """PC looks at targets that are not observed."""

    def begin(self, honest, x, y, settings, precision):
        return honest(x, y, settings, None if settings.objective == "energy" else precision)


@fault
class SeesALittle(WithTraining):
    """BP weighs targets that are not observed by a thousandth."""

    def begin(self, honest, x, y, settings, precision):
        if settings.objective == "loss":
            precision = torch.where(precision > 0, precision, 1e-3)
        return honest(x, y, settings, precision)


@fault
class FillsInZeros(WithTraining):
    """Not a number is taken for a target of 0, and what is a number for a target."""

    def begin(self, honest, x, y, settings, precision):
        return honest(x, y.nan_to_num(), settings, torch.ones_like(y))


@fault
class SecretBackpropagation(WithTraining):
    """What calls itself predictive coding is backpropagation."""

    def begin(self, honest, x, y, settings, precision):
        return honest(x, y, replace(settings, objective="loss"), precision)


@fault
class LongerSteps(WithTraining):
    """Steps are a hundredth longer than asked for."""

    def begin(self, honest, x, y, settings, precision):
        longer = replace(settings, learning_rate=1.01 * settings.learning_rate)
        return honest(x, y, longer, precision)


@fault
class ForgetsToScale(WithTraining):
    """Gradients are not scaled."""

    def begin(self, honest, x, y, settings, precision):
        return honest(x, y, replace(settings, scale=1.0), precision)


@fault
class LargerNorms(WithTraining):
    """Gradient norms are reported a thousandth too large."""

    def report(self, record, objective):
        return replace(record, gradient_norms=1.001 * record.gradient_norms)


@fault
class DoubledObjectives(WithTraining):
    """Losses and energies are reported without their half."""

    def report(self, record, objective):
        return replace(record, losses=2 * record.losses, energies=2 * record.energies)


@fault
class ParametersOfARunBefore(WithTraining):
    """Asked for the parameters after several runs, those before the last are given."""

    def begin(self, honest, x, y, settings, precision):
        made = honest(x, y, settings, precision)
        run, parameters, before = made.run, made.parameters, []

        def late(steps, *asked):
            before.append(parameters())
            return run(steps, *asked)

        made.run = late
        made.parameters = lambda: before[-1] if len(before) > 1 else parameters()
        return made


@fault
class LossesOfLongRunsShrunk(WithTraining):
    """Losses of longer runs of BP are reported a hundredth too small."""

    def report(self, record, objective):
        if objective == "energy" or len(record.losses) == 1:
            return record
        return replace(record, losses=0.99 * record.losses)


@fault
class NoValleys(WithTraining):
    """Of longer runs of BP, gradient norms are those of a path that never comes to rest."""

    def report(self, record, objective):
        if objective == "energy" or len(record.losses) == 1:
            return record
        return replace(record, gradient_norms=0 * record.gradient_norms + 1)


@fault
class SteepBackpropagation(WithTraining):
    """Gradient norms of longer runs of BP are a thousand times too large."""

    def report(self, record, objective):
        if objective == "energy" or len(record.losses) == 1:
            return record
        return replace(record, gradient_norms=1e3 * record.gradient_norms)


@fault
class FlatPredictiveCoding(WithTraining):
    """Gradient norms of longer runs of PC are a millionth of what they are."""

    def report(self, record, objective):
        if objective == "loss" or len(record.losses) == 1:
            return record
        return replace(record, gradient_norms=1e-6 * record.gradient_norms)


@fault
class SlowPredictiveCoding(WithTraining):
    """Longer runs of PC report a loss that never falls."""

    def report(self, record, objective):
        if objective == "loss" or len(record.losses) == 1:
            return record
        return replace(record, losses=0 * record.losses + 1e3)


@fault
class NoGradients(WithTraining):
    """Gradient norms of longer runs of PC are not numbers, nor are its losses."""

    def report(self, record, objective):
        if objective == "loss" or len(record.losses) == 1:
            return record
        nothing = float("nan") * record.losses
        return replace(record, losses=nothing, gradient_norms=float("nan") * record.gradient_norms)
