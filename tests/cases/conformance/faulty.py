"""Backends with one deliberate breach of the contract each, around the correct one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pcbench.backends.torch import TorchBackend
from pcbench.backends.torch.hessians.unrolled import UnrolledHessian
from pcbench.contract import Capability, GradientInference, Inference
from tests.cases.faulty.catalogued import as_backend
from tests.cases.faulty.engines import WithInference

FAULTS: dict[str, tuple[type[TorchBackend], str, str, str]] = {}
"""The backend, a question, its dtype, and the check that must fail."""


def fault(question, check, dtype="float64"):
    """Put a backend into the catalogue, with the check that is there for its mistake."""

    def add(backend):
        FAULTS[backend.__name__] = (backend, question, dtype, check)
        return backend

    return add


class WithAnswers(TorchBackend):
    """Correct but for one method of its models, by name."""

    method: str

    def answer(self, honest, *arguments):
        """Answer with the mistake; ``honest`` is the model's own method."""
        raise NotImplementedError

    def build(self, network, parameters):
        model = super().build(network, parameters)
        honest = getattr(model, self.method)
        setattr(model, self.method, lambda *arguments: self.answer(honest, *arguments))
        return model


# Values and gradients


@fault("evaluation", "malformed answers")
class TransposedGradients(WithAnswers):
    """Gradients come transposed."""

    method = "energy_gradients"

    def answer(self, honest, *arguments):
        return [gradient.mT for gradient in honest(*arguments)]


@fault("evaluation", "prediction")
class ShiftedPrediction(WithAnswers):
    """The prediction carries a constant."""

    method = "predict"

    def answer(self, honest, x):
        return honest(x) + 1e-3


@fault("evaluation", "prediction of one sample alone")
class NormalisesTheBatch(WithAnswers):
    """The prediction of a sample depends on the others of its batch."""

    method = "predict"

    def answer(self, honest, x):
        return honest(x) - 1e-3 * honest(x).mean(0)


@fault("evaluation", "loss")
class MeanOverOutputs(WithAnswers):
    """The loss is averaged over outputs as well."""

    method = "loss"

    def answer(self, honest, x, y):
        return honest(x, y) / y.shape[1]


@fault("evaluation", "energies at given activities")
class MissingHalf(WithAnswers):
    """The energies lack the factor of one half."""

    method = "energies"

    def answer(self, honest, *arguments):
        return 2 * honest(*arguments)


@fault("evaluation", "gradients of the loss by differences")
class TwiceTheLossGradient(WithAnswers):
    """Gradients of the loss lack the factor of one half that the loss has."""

    method = "loss_gradients"

    def answer(self, honest, *arguments):
        return [2 * gradient for gradient in honest(*arguments)]


@fault("evaluation", "gradients of the energy by differences")
class SummedGradients(WithAnswers):
    """Gradients of the energy are summed over the batch."""

    method = "energy_gradients"

    def answer(self, honest, activities, *precision):
        return [len(activities[0]) * g for g in honest(activities, *precision)]


@fault("nonlinear", "gradients of the energy")
class StillBiases(WithAnswers):
    """Biases get no gradient."""

    method = "energy_gradients"

    def answer(self, honest, *arguments):
        return [g if g.dim() > 1 else torch.zeros_like(g) for g in honest(*arguments)]


@fault("evaluation", "gradients of the loss", "float32")
class HalfPrecision(WithAnswers):
    """Gradients go through half precision."""

    method = "loss_gradients"

    def answer(self, honest, *arguments):
        return [gradient.half().float() for gradient in honest(*arguments)]


@fault("masked", "loss")
class CountsTheObserved(WithAnswers):
    """The loss is a mean over samples that are wholly observed."""

    method = "loss"

    def answer(self, honest, x, y, precision):
        whole = (precision > 0).all(-1).sum().clamp(min=1)
        return honest(x, y, precision) * len(x) / whole


@fault("masked", "malformed answers")
class LooksAtTheUnobserved(WithAnswers):
    """Targets that are not observed are multiplied by zero, and NaN stays NaN."""

    method = "loss"

    def answer(self, honest, x, y, precision):
        return honest(x, y, precision) + (0 * y).sum()


# Inference


@fault("inference", "gradient: activities after 3 steps")
class ShortSteps(WithInference):
    """Steps of gradient inference are a hundredth shorter than asked for."""

    def infer(self, model, honest, x, y, settings, precision=None):
        if isinstance(settings, GradientInference):
            settings = settings.model_copy(update={"step": 0.99 * settings.step})
        return honest(x, y, settings, precision)


@fault("inference", "gradient: energy after a first step")
class StaysWhereItIs(WithInference):
    """Gradient inference returns the feedforward activities."""

    def infer(self, model, honest, x, y, settings, precision=None):
        if settings.engine != "gradient":
            return honest(x, y, settings, precision)
        still = settings.model_copy(update={"step": 1e-12, "max_steps": 1})
        return honest(x, y, still, precision)


@fault("inference", "gradient: residual within the budget")
class GivesUp(WithInference):
    """Iterative engines take a tenth of their budget."""

    def infer(self, model, honest, x, y, settings, precision=None):
        if settings.engine != "gradient":
            return honest(x, y, settings, precision)
        fewer = settings.model_copy(update={"max_steps": -(-settings.max_steps // 10)})
        return honest(x, y, fewer, precision)


@fault("inference", "exact: energy at equilibrium")
class ReportsTheLoss(WithInference):
    """The energies are those before inference."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        before = torch.zeros_like(reached.energies)
        before[..., -1] = model.loss(x, y)
        return replace(reached, energies=before)


@fault("inference", "gauss_newton: share of the output's error")
class OutputTermAveraged(WithInference):
    """The output term alone is a mean over the batch and the outputs."""

    def infer(self, model, honest, x, y, settings, precision=None):
        return honest(x, y, settings, torch.full_like(y, 1 / y.numel()))


@fault("inference", "gradient: a sample alone and among others")
class LeaksIntoOthers(WithInference):
    """A thousandth of the batch's mean is in the activities of every sample."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        first, *hidden, last = reached.activities
        leaked = [0.999 * z + 0.001 * z.mean(-2, keepdim=True) for z in hidden]
        return replace(reached, activities=[first, *leaked, last])


@fault("inference", "exact: finite energy")
class NoNumber(WithInference):
    """Energies are not numbers."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        return replace(reached, energies=reached.energies * torch.nan)


@fault("tanh", "gauss_newton: rise of the energy in a step")
class ClimbsOnItsWay(WithInference):
    """The energy rises on the way, and comes down in the end."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        if reached.path is None:
            return reached
        path = reached.path.clone()
        path[1:-1] += 1.0
        return replace(reached, path=path)


# Replicas


@fault("replicas", "prediction")
class OneForAll(TorchBackend):
    """Every replica is the first one."""

    def build(self, network, parameters):
        if parameters[0].ndim > 2:
            parameters = [np.broadcast_to(p[:1], p.shape) for p in parameters]
        return super().build(network, parameters)


@fault("replicas", "gradient: converged in every replica")
class AnyReplica(WithInference):
    """Inference has converged as soon as one replica has."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        if settings.engine != "gradient" or not reached.residual.dim():
            return reached
        return replace(reached, converged=not reached.converged)


@fault("replicas", "gradient: residual: count of the replica that took most")
class CountsForAll(WithInference):
    """Steps are counted once for every replica."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        if not reached.residual.dim():
            return reached
        return replace(reached, steps=reached.steps * len(reached.residual))


fault("masked-replicas", "gauss_newton: activities as alone")(as_backend("MovesOnWithTheOthers"))
fault("masked-replicas", "error: residual: record of every step")(as_backend("RecordsOfNeighbours"))


# Hessians


class Off(UnrolledHessian):
    def multiply(self, directions):
        first, *others = super().multiply(directions)
        return [first + 0.1 * directions[0].roll(1, dims=-1), *others]


@fault("unrolled", "symmetric Hessian through steps")
class NotSymmetric(TorchBackend):
    """The Hessian through steps leaks into neighbours."""

    def build(self, network, parameters):
        model = super().build(network, parameters)
        model.unrolled_hessian = lambda x, y, *steps: Off(model.layers, x, y, *steps)
        return model


# Conduct


@fault("conduct", "asked twice")
class DrawsItsOwnNoise(WithAnswers):
    """Answers carry a little noise, from a generator of its own."""

    method = "loss"

    def answer(self, honest, *arguments):
        return honest(*arguments) * (1 + 1e-14 * torch.rand((), dtype=torch.float64))


@fault("conduct", "asked twice")
class WarmStart(WithInference):
    """Inference begins where it ended the last time."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached: Inference = honest(x, y, settings, precision)
        if settings.engine != "gradient":
            return reached
        model.calls = getattr(model, "calls", 0) + 1
        return replace(reached, steps=max(0, reached.steps - model.calls))


@fault("conduct", "inputs changed")
class ClampsInPlace(WithInference):
    """Inference writes its activities into the batch."""

    def infer(self, model, honest, x, y, settings, precision=None):
        reached = honest(x, y, settings, precision)
        y.copy_(model.predict(x))
        return reached


@fault("conduct", "host arrays still in use")
class Shares(TorchBackend):
    """Host arrays are not copied."""

    def to_device(self, array):
        return torch.from_numpy(array).to(self._dtype)


@fault("conduct", "share of numbers that float32 has, too")
class Float32Inside(TorchBackend):
    """A backend in float64 computes in float32."""

    def to_device(self, array):
        return super().to_device(array).float()


@fault("conduct", "gradients that show the rounding of float32", "float32")
class Float64Inside(WithAnswers):
    """A backend in float32 computes in float64, and rounds in the end."""

    method = "loss_gradients"

    def build(self, network, parameters):
        model = super().build(network, parameters)
        exact = TorchBackend("cpu", "float64").build(network, parameters)
        model.loss_gradients = lambda *batch: [
            gradient.float()
            for gradient in exact.loss_gradients(*(part.double() for part in batch))
        ]
        return model

    def answer(self, honest, *arguments):
        return honest(*arguments)


@fault("conduct", "numbers that float32 does not have", "float32")
class StaysInFloat64(TorchBackend):
    """The dtype is ignored."""

    def __init__(self, device="cpu", dtype="float64"):
        super().__init__(device, dtype)
        self._dtype = torch.float64


@fault("conduct", "numbers that float32 does not have", "float32")
class InfersInFloat64(TorchBackend):
    """Inference in float32 is done in float64, and its numbers stay in it."""

    def build(self, network, parameters):
        model = super().build(network, parameters)
        exact = TorchBackend("cpu", "float64").build(network, parameters)
        model.infer = lambda x, y, settings: exact.infer(x.double(), y.double(), settings)
        return model


@fault("conduct", "elsewhere than on the device")
class SaysAnotherDevice(TorchBackend):
    """It runs on the CPU, and says that it runs on a GPU."""

    def describe(self):
        return super().describe() | {"device": "cuda:0"}


# Robustness


@fault("robustness", "predictions of another shape")
class LeavesSamplesOut(WithAnswers):
    """Samples with NaN in them are left out."""

    method = "predict"

    def answer(self, honest, x):
        return honest(x[x.isfinite().all(dim=1)])


@fault("robustness", "no samples: prediction of another shape")
class OneAtLeast(WithAnswers):
    """A batch of no samples is answered as if it had one."""

    method = "predict"

    def answer(self, honest, x):
        return honest(x if len(x) else x.new_zeros(1, x.shape[1]))


@fault("robustness", "no samples: numbers for a mean over none")
class ZeroOfNothing(WithAnswers):
    """The gradient on no samples is zero, as at a minimum."""

    method = "loss_gradients"

    def answer(self, honest, x, y):
        return honest(x, y) if len(x) else [torch.zeros(1, dtype=x.dtype)]


@fault("robustness", "predictions made of what is none")
class Cleans(WithAnswers):
    """What is not a number is taken as zero."""

    method = "predict"

    def answer(self, honest, x):
        return honest(torch.nan_to_num(x))


@fault("robustness", "predictions of other samples")
class Leaks(WithAnswers):
    """Predictions pass through a mean over the batch."""

    method = "predict"

    def answer(self, honest, x):
        mean = honest(x).mean(0)
        return honest(x) + mean - mean


@fault("robustness", "numbers made of what is none")
class SaysItIsDone(WithInference):
    """Inference converges, whatever it is given."""

    def infer(self, model, honest, x, y, settings, precision=None):
        return replace(honest(x, y, settings, precision), converged=True)


class Less(TorchBackend):
    """Offers what every backend has to, and nothing else."""

    capabilities: frozenset[Capability] = frozenset()
