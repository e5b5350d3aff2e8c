"""Backends with one deliberate breach of the contract each, around the correct one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from pcbench.audit import Part
from pcbench.audit.tables import building_faults, faults
from pcbench.backends.torch import TorchBackend
from pcbench.contract import Backend, Capability, GradientInference
from tests.cases.faulty.catalogued import as_backends

FAULTS: dict[str, tuple[type[Backend], str, str, str]] = {}
"""The backend, a question, its dtype, and the check that must fail."""


def fault(question, check, dtype="float64"):
    """Put a backend into the catalogue, with the check that is there for its mistake."""

    def add(backend):
        FAULTS[backend.__name__] = (backend, question, dtype, check)
        return backend

    return add


def told(question, check, *mistaken, dtype="float64"):
    """Put faults into the catalogue: rows of a table, or names of the audit's."""
    for backend in as_backends(*mistaken).values():
        fault(question, check, dtype)(backend)


def infer(**rows):
    """Mistakes in inference."""
    return faults(Part.INFERENCE, "infer")(**rows)


def changed(settings, **changes):
    return settings.model_copy(update=changes)


def by_gradient(wrong):
    """Make a mistake in gradient inference alone."""
    return lambda q: wrong(q) if isinstance(q.settings, GradientInference) else q.ask()


# Values and gradients

told(
    "evaluation",
    "malformed answers",
    *faults(Part.ENERGY_GRADIENTS, "energy_gradients")(
        TransposedGradients=("Gradients come transposed.", lambda q: [g.T for g in q.ask()]),
    ),
)
told(
    "evaluation",
    "prediction",
    *faults(Part.PREDICTION, "predict")(
        ShiftedPrediction=("The prediction carries a constant.", lambda q: q.ask() + 1e-3),
    ),
)
told(
    "evaluation",
    "prediction of one sample alone",
    *faults(Part.PREDICTION, "predict")(
        NormalisesTheBatch=(
            "The prediction of a sample depends on the others of its batch.",
            lambda q: (found := q.ask()) - 1e-3 * found.mean(0),
        ),
    ),
)
told("evaluation", "loss", "LossAveragedOverOutputs")
told("evaluation", "energies at given activities", "EnergiesWithoutHalf")
told(
    "evaluation",
    "gradients of the loss by differences",
    *faults(Part.LOSS_GRADIENTS, "loss_gradients")(
        TwiceTheLossGradient=(
            "Gradients of the loss lack the factor of one half that the loss has.",
            lambda q: [2 * gradient for gradient in q.ask()],
        ),
    ),
)
told("evaluation", "gradients of the energy by differences", "EnergyGradientsSummed")
told(
    "nonlinear",
    "gradients of the energy",
    *faults(Part.BIASES, "energy_gradients")(
        StillBiases=(
            "Biases get no gradient.",
            lambda q: [g if g.ndim > 1 else 0 * g for g in q.ask()],
        ),
    ),
)
told(
    "evaluation",
    "gradients of the loss",
    *faults(Part.DTYPE, "loss_gradients")(
        HalfPrecision=(
            "Gradients go through half precision.",
            lambda q: [gradient.astype(np.float16) for gradient in q.ask()],
        ),
    ),
    dtype="float32",
)
told(
    "masked",
    "loss",
    *faults(Part.PRECISION, "loss")(
        CountsTheObserved=(
            "The loss is a mean over samples that are wholly observed.",
            lambda q: q.ask() * q.samples / max(1, (q.precision > 0).all(-1).sum()),
        ),
    ),
)
told(
    "masked",
    "malformed answers",
    *faults(Part.PRECISION, "loss")(
        LooksAtTheUnobserved=(
            "Targets that are not observed are multiplied by zero, and NaN stays NaN.",
            lambda q: q.ask() + (0 * q.y).sum(),
        ),
    ),
)


# Inference


def leaking(q):
    reached = q.ask()
    first, *hidden, last = reached.activities
    leaked = [0.999 * z + 0.001 * z.mean(-2, keepdims=True) for z in hidden]
    return replace(reached, activities=[first, *leaked, last])


def climbing(q):
    reached = q.ask()
    if reached.path is None:
        return reached
    path = reached.path.copy()
    path[1:-1] += 1.0
    return replace(reached, path=path)


told(
    "inference",
    "gradient: activities after 3 steps",
    *infer(
        ShortSteps=(
            "Steps of gradient inference are a hundredth shorter than asked for.",
            by_gradient(lambda q: q.ask(settings=changed(q.settings, step=0.99 * q.settings.step))),
        ),
    ),
)
told(
    "inference",
    "gradient: energy after a first step",
    *infer(
        StaysWhereItIs=(
            "Gradient inference returns the feedforward activities.",
            by_gradient(lambda q: q.ask(settings=changed(q.settings, step=1e-12, max_steps=1))),
        ),
    ),
)
told(
    "inference",
    "gradient: residual within the budget",
    *infer(
        GivesUp=(
            "Gradient inference takes a tenth of its budget.",
            by_gradient(
                lambda q: q.ask(
                    settings=changed(q.settings, max_steps=-(-q.settings.max_steps // 10))
                )
            ),
        ),
    ),
)
told("inference", "exact: energy at equilibrium", "EnergyBeforeInference")
told(
    "inference",
    "gauss_newton: share of the output's error",
    *infer(
        OutputTermAveraged=(
            "The output term alone is a mean over the batch and the outputs.",
            lambda q: q.ask(precision=np.full_like(q.y, 1 / q.y.size)),
        ),
    ),
)
told(
    "inference",
    "gradient: a sample alone and among others",
    *infer(
        LeaksIntoOthers=(
            "A thousandth of the batch's mean is in the activities of every sample.",
            leaking,
        ),
    ),
)
told(
    "inference",
    "exact: finite energy",
    *infer(
        NoNumber=(
            "Energies are not numbers.",
            lambda q: replace(reached := q.ask(), energies=reached.energies * np.nan),
        ),
    ),
)
told(
    "tanh",
    "gauss_newton: rise of the energy in a step",
    *infer(
        ClimbsOnItsWay=("The energy rises on the way, and comes down in the end.", climbing),
    ),
)


# Replicas


def one_for_all(network, parameters):
    if parameters[0].ndim == len(network.shapes[0]):
        return network, parameters
    return network, [np.broadcast_to(p[:1], p.shape) for p in parameters]


def any_replica(q):
    reached = q.ask()
    return replace(reached, converged=reached.converged ^ bool(reached.residual.ndim))


def counted_for_all(q):
    reached = q.ask()
    return replace(reached, steps=reached.steps * reached.residual.size)


told(
    "replicas",
    "prediction",
    *building_faults(Part.REPLICAS)(OneForAll=("Every replica is the first one.", one_for_all)),
)
told(
    "replicas",
    "gradient: converged in every replica",
    *infer(
        AnyReplica=(
            "Inference has converged as soon as one replica has.",
            by_gradient(any_replica),
        ),
    ),
)
told(
    "replicas",
    "gradient: residual: count of the replica that took most",
    *infer(CountsForAll=("Steps are counted once for every replica.", counted_for_all)),
)
told("masked-replicas", "gauss_newton: activities as alone", "MovesOnWithTheOthers")
told("masked-replicas", "error: residual: record of every step", "RecordsOfNeighbours")


# Hessians


told(
    "unrolled",
    "symmetric Hessian through steps",
    *faults(Part.UNROLLED_HESSIAN, "unrolled_hessian")(
        NotSymmetric=(
            "The Hessian through steps leaks into neighbours.",
            lambda q: q.multiplied(
                lambda product, vectors: product(vectors) + 0.1 * np.roll(vectors, 1, axis=-1)
            ),
        ),
    ),
)


# Conduct

NOISE = np.random.default_rng(0)


def warm(q):
    """Take fewer steps with every call."""
    kept = vars(q.model)
    kept["calls"] = kept.get("calls", 0) + 1
    return replace(reached := q.ask(), steps=max(0, reached.steps - kept["calls"]))


def clamped_in_place(q):
    reached = q.ask()
    q.given["y"].copy_(q.model.inner.predict(q.given["x"]))
    return reached


told(
    "conduct",
    "asked twice",
    *faults(Part.PURITY, "loss")(
        DrawsItsOwnNoise=(
            "Answers carry a little noise, from a generator of its own.",
            lambda q: q.ask() * (1 + 1e-14 * NOISE.random()),
        ),
    ),
    *infer(WarmStart=("Inference begins where it ended the last time.", by_gradient(warm))),
)
told(
    "conduct",
    "inputs changed",
    *infer(ClampsInPlace=("Inference writes its activities into the batch.", clamped_in_place)),
)


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


def one_at_least(q):
    return q.ask() if q.samples else q.ask(x=np.zeros((1, q.x.shape[1])))


def leaks_nan(q):
    found = q.ask()
    return found + found.mean(0) - found.mean(0)


told("robustness", "predictions of another shape", "SamplesWithNanDropped")
told(
    "robustness",
    "no samples: prediction of another shape",
    *faults(Part.ROBUSTNESS, "predict")(
        OneAtLeast=("A batch of no samples is answered as if it had one.", one_at_least),
    ),
)
told(
    "robustness",
    "no samples: numbers for a mean over none",
    *faults(Part.ROBUSTNESS, "loss_gradients")(
        ZeroOfNothing=(
            "The gradient on no samples is zero, as at a minimum.",
            lambda q: q.ask() if q.samples else [np.zeros(1)],
        ),
    ),
)
told("robustness", "finite predictions from non-finite input", "NanInputIsZero")
told(
    "robustness",
    "predictions of other samples",
    *faults(Part.ROBUSTNESS, "predict")(
        Leaks=("Predictions pass through a mean over the batch.", leaks_nan),
    ),
)
told("robustness", "finite answers from non-finite input", "AlwaysConverged")


class Less(TorchBackend):
    """Offers what every backend has to, and nothing else."""

    capabilities: frozenset[Capability] = frozenset()
