"""Backends whose inference has one deliberate mistake each, around the correct one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch

from pcbench.backends.torch import TorchBackend
from pcbench.backends.torch.gauss_newton import LinearisedNetwork
from pcbench.backends.torch.layers import Layer, Linearisation
from pcbench.backends.torch.maps import Matrix
from pcbench.backends.torch.relaxation import Progress, Relaxation
from pcbench.contract import Backend, GaussNewtonInference
from tests.cases.faulty.catalogued import as_backends

ENGINE_FAULTS: dict[str, type[Backend]] = as_backends(
    "SquaredResidual",
    "MeanResidual",
    "AlwaysConverged",
    "NeverConverged",
    "OneSampleAColumn",
    "EnergyGradientsUphill",
    "UnobservedAreZeros",
    "UnobservedCountALittle",
    "PostForPre",
)
"""Those of the audit's catalogue, and more."""


def fault(backend: type[TorchBackend]) -> type[TorchBackend]:
    """Put a backend into the catalogue."""
    ENGINE_FAULTS[backend.__name__] = backend
    return backend


class WithLayers(TorchBackend):
    """Correct but for its layers."""

    @abstractmethod
    def layer(self, layer: Layer) -> Layer:
        """Return the layer with its mistake."""

    def build(self, network, parameters):
        model = super().build(network, parameters)
        model.layers = [self.layer(layer) for layer in model.layers]
        return model


class WithInference(TorchBackend):
    """Correct but for ``infer``."""

    @abstractmethod
    def infer(self, model, honest, x, y, settings, precision=None):
        """Answer with the mistake; ``honest`` is the model's own answer."""

    def build(self, network, parameters):
        model = super().build(network, parameters)
        honest = model.infer

        def infer(x, y, settings, precision=None):
            return self.infer(model, honest, x, y, settings, precision)

        model.infer = infer
        return model


class Untransposed(Matrix):
    def pull(self, e):
        square = self.weight.shape[-1] == self.weight.shape[-2]
        return Matrix(self.weight.mT if square else self.weight, None).pull(e)


@fault
class WrongTranspose(WithLayers):
    """Errors are pulled back by W instead of its transpose, where the shapes allow it."""

    def layer(self, layer):
        return replace(layer, affine=Untransposed(layer.affine.weight, layer.affine.bias))


class NoSlope(Layer):
    def at(self, z):
        tangent = super().at(z)
        return Linearisation(
            tangent.layer, tangent.seen, tangent.value, None, None, tangent.winners
        )


@fault
class MissingDerivative(WithLayers):
    """The derivative of the activation is forgotten."""

    def layer(self, layer):
        return NoSlope(layer.affine, layer.before, layer.after, layer.pool)


class WithGaussNewton(WithInference):
    """Correct but for the way that Gauss-Newton takes its steps."""

    @abstractmethod
    def steps(self, relaxation, view, settings):
        """Yield where each step leads, from the view at the start."""

    def infer(self, model, honest, x, y, settings, precision=None):
        if not isinstance(settings, GaussNewtonInference):
            return honest(x, y, settings, precision)
        relaxation = Relaxation(model.layers, x, y, precision)
        start = view = relaxation.feedforward()
        progress = Progress(start, settings.residual, record=settings.record, by_sample=True)
        for view in self.steps(relaxation, start, settings):
            progress.step += 1
            progress.meet(view, view.slopes())
            if progress.ended:
                break
        return progress.close(view)


def full_step(view):
    """Hidden errors at the minimum of the linearised network."""
    undamped = torch.zeros_like(view.sample_energies())
    return LinearisedNetwork.at(view).minimum(undamped)[0]


@fault
class AcceptsIncreases(WithGaussNewton):
    """Gauss-Newton takes every full step, whatever becomes of the energy."""

    def steps(self, relaxation, view, settings):
        for _ in range(settings.max_steps):
            view = relaxation.roll_out(full_step(view))
            yield view


@fault
class RelaxesItsInput(WithInference):
    """The input is not clamped but replaced by another one, for which all else is right."""

    def infer(self, model, honest, x, y, settings, precision=None):
        return honest(torch.ones_like(x), y, settings, precision)


@fault
class ForgetsTheOutput(WithInference):
    """The output that is returned is the prediction, not the target."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        output = model.layers[-1](reached.activities[-2])
        return replace(reached, activities=[*reached.activities[:-1], output])


@fault
class InventedPath(WithInference):
    """The path that is recorded is not the one that was taken."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        return reached if reached.path is None else replace(reached, path=0 * reached.path)


@fault
class RaisesASample(WithGaussNewton):
    """Gauss-Newton watches the energy of the batch alone, in which one sample's rise is lost."""

    def steps(self, relaxation, view, settings):
        loss, errors = view.sample_energies(), full_step(view)
        easiest = int(loss.argmin())
        errors[0][easiest] = (2 * loss[easiest] / errors[0].shape[-1]).sqrt()
        yield relaxation.roll_out(errors)


@fault
class EndsAboveTheLoss(WithInference):
    """Hidden activities are returned three times as large as they were found."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        hidden = [3 * z for z in reached.activities[1:-1]]
        activities = [x, *hidden, reached.activities[-1]]
        energies = model.energies([x, *hidden, y], precision)
        return replace(reached, activities=activities, energies=energies)


@fault
class CountsOn(WithInference):
    """Steps are counted on from one call to the next."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        return replace(reached, steps=reached.steps + 100_000)


@fault
class NoBiasGradient(TorchBackend):
    """The gradient of the last bias is forgotten."""

    def build(self, network, parameters):
        model = super().build(network, parameters)
        honest = model.energy_gradients
        model.energy_gradients = lambda *arguments: honest(*arguments)[:-1]
        return model


@fault
class ForgottenBias(WithLayers):
    """Biases are left out of inference's forward pass."""

    def layer(self, layer):
        return replace(layer, affine=Unbiased(layer.affine.weight, layer.affine.bias))


class Unbiased(Matrix):
    def __call__(self, z):
        return z @ self.weight.mT


SLOW_FAULTS: dict[str, type[Backend]] = as_backends("HalfTheStep", "OneStepTooFew")
"""Faults that only the closed form of gradient inference's every step can tell."""


class Lengthened(Matrix):
    def pull(self, e):
        return super().pull(e) * (1 + 1e-4)


class SlightlyWrongPull(WithLayers):
    """What is pulled back is too long by a ten thousandth."""

    def layer(self, layer):
        return replace(layer, affine=Lengthened(layer.affine.weight, layer.affine.bias))


SLIGHT_FAULTS: dict[str, type[TorchBackend]] = {"SlightlyWrongPull": SlightlyWrongPull}
"""Faults that have to be told in float32, too, from its rounding."""
